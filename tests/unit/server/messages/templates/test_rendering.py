"""Templates and what hostile data makes of them: nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tocsin_server.messages.templates.rendering import MAIL, SMS, Rendered, Templates, TemplateUnfit

Write = Callable[..., Templates]
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files into a template folder: welcome_txt="..." is welcome.txt."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("the secret")

    def write(**files: str) -> Templates:
        for name, content in files.items():
            (folder / name.replace("_", ".")).write_text(content)
        return Templates(folder)

    return write


def test_a_template_is_filled_in_all_its_parts(write: Write) -> None:
    templates = write(
        welcome_subject="Welcome, {{ name }}!\n", welcome_txt="Hi {{ name }}", welcome_html="<p>Hi {{ name }}</p>"
    )
    assert templates.render("welcome", {"name": "Ada"}) == Rendered("Welcome, Ada!", "Hi Ada", "<p>Hi Ada</p>")


def test_a_part_that_is_not_there_is_left_out(write: Write) -> None:
    assert write(welcome_txt="Hi").render("welcome", {}) == Rendered(None, "Hi", None)


def test_a_changed_template_is_read_anew(write: Write) -> None:
    templates = write(welcome_txt="Hi")
    templates.render("welcome", {})
    write(welcome_txt="Good day to you")
    assert templates.render("welcome", {}).text == "Good day to you"


def test_markup_in_data_is_escaped_in_html_and_left_alone_in_text(write: Write) -> None:
    templates = write(w_subject="{{ x }}", w_txt="{{ x }}", w_html="<p title='{{ x }}'>{{ x }}</p>")
    evil = "<script>alert('1')</script> & co"
    made = templates.render("w", {"x": evil})
    assert (made.subject, made.text) == (evil, evil)
    assert made.html is not None
    assert "<script" not in made.html
    assert "'1'" not in made.html


def test_line_breaks_in_data_do_not_leave_the_subject_line(write: Write) -> None:
    made = write(w_subject="{% if 1 %}\nHi {{ x }}\n{% endif %}", w_txt="-").render(
        "w", {"x": "a\r\nBcc: e\u2028f\x85g"}
    )
    assert made.subject == "Hi a Bcc: e f g"


@pytest.mark.parametrize("evil", ["{{ 7 * 7 }}", "{% include 'secret.txt' %}", "{# gone #}", "{{ self }}"])
def test_template_syntax_in_data_is_only_text(write: Write, evil: str) -> None:
    templates = write(w_txt="{{ x }}|{{ y.z }}|{{ {'a': x} | length }}")
    assert templates.render("w", {"x": evil, "y": {"z": evil}}).text == f"{evil}|{evil}|1"


def test_a_variable_that_is_not_given_is_named(write: Write) -> None:
    templates = write(w_txt="Hi {{ name }}, {{ order.number }}")
    with pytest.raises(TemplateUnfit, match=r"template w\.txt: 'name' is undefined; give it in template_data"):
        templates.render("w", {})
    with pytest.raises(TemplateUnfit, match="'number'"):
        templates.render("w", {"name": "Ada", "order": {}})


def test_data_goes_before_the_methods_of_a_dict(write: Write) -> None:
    templates = write(w_txt="{% for item in order.items %}{{ item }};{% endfor %}{{ order.values }}")
    assert templates.render("w", {"order": {"items": ["a", "b"], "values": 3}}).text == "a;b;3"


@pytest.mark.parametrize(
    "name", ["../secret", "../", "/etc/passwd", "a/../../secret", "a\\b", "", "x" * 101, "w\n", "w\0", "ä"]
)
def test_a_name_cannot_leave_the_folder(write: Write, name: str) -> None:
    with pytest.raises(TemplateUnfit, match="a template's name"):
        write(w_txt="hi").render(name, {})


def test_dots_are_letters_of_a_name_like_others(write: Write) -> None:
    with pytest.raises(TemplateUnfit, match=r"no \.\.\.txt"):
        write(w_txt="hi").render("..", {})


def test_a_template_cannot_include_what_is_outside(write: Write) -> None:
    with pytest.raises(TemplateUnfit, match=r"template w\.txt: it includes \.\./secret\.txt"):
        write(w_txt="{% include '../secret.txt' %}").render("w", {})


@pytest.mark.parametrize("code", ["{{ ''.__class__.__mro__ }}", "{{ x.__init__.__globals__ }}", "{{ x.append(1) }}"])
def test_a_template_cannot_reach_into_the_server(write: Write, code: str) -> None:
    with pytest.raises(TemplateUnfit):
        write(w_txt=code).render("w", {"x": []})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("line\n{% if %}", r"template w\.txt, line 2"),
        ("{% include 'gone.txt' %}", r"it includes gone\.txt"),
        ("{{ '%d' | format(x) }}", "TypeError while it was filled"),
    ],
)
def test_a_broken_template_is_named_with_its_fault_and_no_data(write: Write, content: str, said: str) -> None:
    with pytest.raises(TemplateUnfit, match=said) as caught:
        write(w_txt=content).render("w", {"x": "private"})
    assert "private" not in str(caught.value)


def test_a_template_that_is_not_there_is_named(write: Write) -> None:
    with pytest.raises(TemplateUnfit, match=r"no welcome\.txt and no welcome\.html"):
        write(welcome_subject="Hi").render("welcome", {})


def test_an_earlier_folder_goes_before_a_later_one_file_by_file(write: Write, tmp_path: Path) -> None:
    write(w_txt="mine {{ x }}")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "w.txt").write_text("theirs")
    (theirs / "w.html").write_text("<p>theirs {{ x }}</p>")
    made = Templates(tmp_path / "templates", theirs).render("w", {"x": 1})
    assert (made.text, made.html) == ("mine 1", "<p>theirs 1</p>")


def test_parts_that_a_template_has_not_are_taken_of_the_fallback(write: Write) -> None:
    templates = write(own_html="own", base_subject="base", base_txt="base", base_html="base", base_sms="base")
    assert templates.render("own", {}, [*MAIL, SMS], fallback="base") == Rendered("base", "base", "own", "base")
    assert templates.render("base", {}, [SMS], fallback="base") == Rendered(sms="base")
    with pytest.raises(TemplateUnfit, match=r"none of gone\.sms in"):
        templates.render("gone", {}, [SMS], fallback="base")


def test_syntax_that_is_wrong_is_told_before_a_template_is_needed(write: Write) -> None:
    templates = write(good_txt="{{ x }}", bad_html="a\n{% if %}", other_md="{% if %}")
    (fault,) = templates.faults()
    assert fault.startswith("template bad.html, line 2")


def test_a_loop_over_large_data_ends_before_the_memory_does(write: Write) -> None:
    templates = write(w_txt="{% for i in range(1000) %}{{ x }}{% endfor %}")
    with pytest.raises(TemplateUnfit, match="more than 2,097,152 characters"):
        templates.render("w", {"x": "x" * 100_000})


HOSTILE = st.text(
    st.one_of(
        st.sampled_from("{}%#<>&\"'/\\\r\n\t\0\u2028\u202e\u2066=;:ab "),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


class Page(HTMLParser):
    """Tags and attributes of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [(name, None if name in ("title", "href") else value) for name, value in attrs]))


@given(HOSTILE, st.recursive(HOSTILE, lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner), max_leaves=5))
@example("{{ 7 * 7 }}{% include 'x' %}", "\r\nBcc: eve@example.com")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_data_adds_markup_lines_to_a_subject_or_turns_what_follows(write: Write, one: str, other: object) -> None:
    templates = write(
        h_subject="{{ one }} {{ other }}",
        h_txt="{{ one }} {{ other }}",
        h_html="<p title=\"{{ one }}\">{{ other }}</p><a href='{{ one }}'>x</a>",
        h_sms="{{ one }}",
    )
    made = templates.render("h", {"one": one, "other": other}, [*MAIL, SMS], fallback="h")
    harmless = templates.render("h", {"one": "a", "other": "b"})
    assert made.subject is not None
    assert made.text is not None
    assert made.html is not None
    assert harmless.html is not None
    assert len(made.subject.splitlines()) <= 1
    assert Page(made.html).tags == Page(harmless.html).tags
    assert not TURNING.search(made.subject + made.text + made.html)
    if not TURNING.search(one):
        assert made.text.startswith(one)  # as it is: neither read as a template nor escaped
