"""What help shows of each option: what it is for, what it takes, and its default as it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tocsin.cli.app import SERVER_COMMANDS, build


def commands() -> Iterator[tuple[str, Any]]:
    """Each command by its words; those of the server package are loaded by their names."""
    for name in (None, *SERVER_COMMANDS):
        command = build(name)
        for word, one in command.commands.items():
            if name is None and word in SERVER_COMMANDS:
                continue
            if name is None or word == name:
                yield from _leaves(word, one)


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield words, command
    for word, one in getattr(command, "commands", {}).items():
        yield from _leaves(f"{words} {word}", one)


EACH = [
    (f"{words} {parameter.opts[0]}", parameter)
    for words, command in commands()
    for parameter in command.params
    if not getattr(parameter, "hidden", False)
]


def test_each_option_and_argument_says_what_it_is_for() -> None:
    assert len(EACH) > 200
    assert [name for name, one in EACH if not one.help] == []


def test_an_option_that_takes_no_value_shows_none() -> None:
    flags = [(name, one) for name, one in EACH if getattr(one, "is_flag", False)]
    assert len(flags) > 20
    assert [name for name, one in flags if one.metavar != ""] == []


def test_an_argument_has_a_name_in_capitals_or_words_to_choose_from() -> None:
    arguments = [(name, one) for name, one in EACH if one.param_type_name == "argument"]
    assert len(arguments) > 10
    assert [
        name for name, one in arguments if not (one.metavar and (one.metavar.isupper() or "|" in one.metavar))
    ] == []


def test_a_default_is_shown_as_it_is_typed() -> None:
    """A text in `show_default` would stand in brackets, which nobody types."""
    assert [name for name, one in EACH if isinstance(one.show_default, str) and one.show_default] == []
