"""Names become types and ids job ids, none of them by accident the same."""

from __future__ import annotations

import re

import bson
import pytest
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from tocsin.payloads import TYPED_PAYLOADS
from tocsin_server.migrate.systems.agenda import names
from tocsin_server.migrate.systems.agenda.ids import MADE, id_of_raw, job_id_of, shown
from tocsin_server.migrate.systems.agenda.names import TypeNames

TYPE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
DIGEST = r"\.[0-9a-f]{12}\Z"


@pytest.mark.parametrize("name", ["send-email", "a", "A.b_c-9", "x" * 100])
def test_a_name_that_fits_is_the_type(name: str) -> None:
    assert TypeNames([name]).type_of(name) == name


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("send email", "send_email"),
        ("delete old users", "delete_old_users"),
        ("images/resize: small!", "images_resize_small"),
        (" padded ", "padded"),
        ("über\x00mail\n", "ber_mail"),
    ],
)
def test_other_characters_become_one_line_each_run(name: str, type_: str) -> None:
    assert TypeNames([name]).type_of(name) == type_


@pytest.mark.parametrize("name", ["発注", "!!!", "x" * 101, "a b" * 50, "🔔"])
def test_what_cannot_be_read_or_is_too_long_has_a_digest(name: str) -> None:
    type_ = TypeNames([name]).type_of(name)
    assert TYPE.match(type_)
    assert re.search(DIGEST, type_)


def test_two_names_do_not_fall_together() -> None:
    together = ["send email", "send/email", "send email "]
    types = [TypeNames(together).type_of(name) for name in together]
    assert len(set(types)) == 3
    assert all(re.match("send_email" + DIGEST, type_) for type_ in types)

    with_the_very_one = TypeNames(["send_email", "send email"])
    assert with_the_very_one.type_of("send_email") == "send_email"
    assert re.match("send_email" + DIGEST, with_the_very_one.type_of("send email"))


def test_the_order_of_names_does_not_matter() -> None:
    both = ["a b", "a/b", "c d", "a_b"]
    forth, back = TypeNames(both), TypeNames(reversed(both))
    assert [forth.type_of(name) for name in both] == [back.type_of(name) for name in both]


@pytest.mark.parametrize("type_", sorted(TYPED_PAYLOADS.values()))
def test_a_built_in_type_does_not_get_jobs_of_agenda(type_: str) -> None:
    spaced = type_.replace("_", " ")
    assert TypeNames([type_]).type_of(type_) == f"agenda.{type_}"
    assert TypeNames([spaced]).type_of(spaced) == f"agenda.{type_}"
    both = TypeNames([type_, spaced, f"agenda.{type_}"])
    assert len({both.type_of(name) for name in (type_, spaced, f"agenda.{type_}")}) == 3


def test_a_name_that_came_later_has_its_digest() -> None:
    assert re.match("send_email" + DIGEST, TypeNames([]).type_of("send email"))


def test_with_too_many_names_each_changed_one_has_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_NAMES", 2)
    crowded = TypeNames(["a b", "c d", "e f"])
    assert re.match("a_b" + DIGEST, crowded.type_of("a b"))
    assert crowded.type_of("plain") == "plain"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_any_names_have_types_that_fit_and_differ(found: list[str]) -> None:
    types = TypeNames(found)
    made = [types.type_of(name) for name in found]
    assert all(TYPE.match(type_) for type_ in made)
    assert len(set(made)) == len(found)
    assert not set(made) & set(TYPED_PAYLOADS.values())


def test_an_object_id_is_its_digits() -> None:
    assert job_id_of(ObjectId("65f000000000000000000001")) == "65f000000000000000000001"


@pytest.mark.parametrize("source", ["order-17", "ä" * 200, "with space", "x" * 200])
def test_a_string_that_can_be_an_id_is_kept(source: str) -> None:
    assert job_id_of(source) == source


@pytest.mark.parametrize(
    "source",
    [
        "65f000000000000000000001",  # an ObjectId may have it
        "agenda-0123",
        "",
        "x" * 201,
        "🔔" * 151,  # 604 bytes
        "line\nbreak",
        "half \udcff",
        7,
        7.5,
        None,
        True,
        b"bytes",
        {"a": "half \udcff"},
        DatetimeMS(2**60),
        bson.Decimal128("1"),
        Code("x"),
    ],
)
def test_any_other_id_is_a_digest_of_its_own(source: object) -> None:
    made = job_id_of(source)
    assert re.fullmatch(MADE + "[0-9a-f]{32}", made)
    assert made == job_id_of(source)
    assert made not in {job_id_of(other) for other in ("other", 8, None if source is not None else 9)}
    assert shown(source).isprintable()
    assert len(shown(source)) <= 10_001


def test_the_id_of_what_cannot_be_decoded_is_read_off_its_first_bytes() -> None:
    assert id_of_raw(bson.encode({"_id": ObjectId("65f000000000000000000001"), "a": 1})) == "65f000000000000000000001"
    assert id_of_raw(bson.encode({"a": 1})) == "?"
    assert id_of_raw(b"") == "?"
