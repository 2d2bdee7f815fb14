"""load_handlers: names found, and one clear line where they are not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tocsin.worker.loading import HandlersNotFound, load_handlers

GOOD = """
from tocsin.worker.registry import Handlers
handlers, other_name = Handlers(), Handlers()
@handlers.on("a")
def a(job): ...
@other_name.on("b")
def b(job): ...
number = 3
"""

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules into the current folder; they are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_module_in_the_current_folder_is_found(write: Write) -> None:
    write("loaded_jobs.py", GOOD)
    handlers = load_handlers("loaded_jobs")
    assert list(handlers) == ["a"]
    assert handlers.spec == "loaded_jobs:handlers"


def test_nothing_in_the_current_folder_stands_in_for_a_module_of_the_library(write: Write, tmp_path: Path) -> None:
    write("colorsys.py", GOOD)
    sys.modules.pop("colorsys", None)
    with pytest.raises(HandlersNotFound, match="module 'colorsys' has no 'handlers'"):
        load_handlers("colorsys")
    assert sys.path[-1] == str(tmp_path)


def test_another_object_of_a_module_in_a_package_is_found(write: Write) -> None:
    write("loaded_app/__init__.py", "")
    write("loaded_app/jobs.py", GOOD)
    handlers = load_handlers("loaded_app.jobs:other_name")
    assert list(handlers) == ["b"]
    assert handlers.spec == "loaded_app.jobs:other_name"


@pytest.mark.parametrize("spec", ["", "loaded_jobs.py:", "a/b.py", "a:b:c", "a b", ".a", "a..b", ":handlers", "1a"])
def test_what_is_no_name_is_refused(spec: str) -> None:
    with pytest.raises(HandlersNotFound, match="names no handlers: write a module"):
        load_handlers(spec)


@pytest.mark.parametrize("spec", ["not_there", "loaded_app.not_there", "not_there.jobs"])
def test_a_missing_module_is_named_with_the_folder_looked_in(write: Write, tmp_path: Path, spec: str) -> None:
    write("loaded_app/__init__.py", "")
    with pytest.raises(HandlersNotFound, match=f"there is no module '{spec}'") as caught:
        load_handlers(spec)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import not_installed_here", "cannot be imported: No module named 'not_installed_here'"),
        ("1/0", "cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit: 3"),
        ("raise ValueError('one\\ntwo')", r"cannot be imported: ValueError: one \(.*failing_jobs\.py, line 1\)$"),
        ("def f():\n    return {}['key']\n\nf()", r"KeyError: 'key' \(.*failing_jobs\.py, line 2\)$"),
        ("\n\nimport not_installed_here", r"'not_installed_here' \(.*failing_jobs\.py, line 3\)$"),
        ("def broken(:", "cannot be imported: SyntaxError"),
    ],
)
def test_a_module_that_fails_is_named_in_one_line_with_its_cause(write: Write, text: str, says: str) -> None:
    write("failing_jobs.py", text)
    with pytest.raises(HandlersNotFound, match=says) as caught:
        load_handlers("failing_jobs")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_missing_or_wrong_object_is_refused_with_those_that_are_there(write: Write) -> None:
    write("loaded_jobs.py", GOOD)
    with pytest.raises(HandlersNotFound, match="has no 'nothing'; it has loaded_jobs:handlers, loaded_jobs:other_name"):
        load_handlers("loaded_jobs:nothing")
    with pytest.raises(HandlersNotFound, match="'number' in module 'loaded_jobs' is a int, not a Handlers"):
        load_handlers("loaded_jobs:number")
    write("empty_jobs.py", "")
    with pytest.raises(HandlersNotFound, match="has no 'handlers'; write `handlers = Handlers"):
        load_handlers("empty_jobs")
