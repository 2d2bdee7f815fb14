"""What Redis is sent as a script: the text of its file, helpers included, made lean.

Redis runs a script's text from its first line on, each time: every function in it is made anew, with all that it refers
to. So a script is sent with what it needs and no more: constants stand where they are used, and functions that nothing
calls are left out. Of those that run most there is a short one, too, without what few queues have (lua/lib/rare.lua):
an empty claim costs about two thirds with it (`python tests/bench --empty-claims`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r"^--- @include (.+)$", re.MULTILINE)
_RARE = re.compile(r"^--- @rare\nlocal function .*\n(?:.*\n)*?end\n", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_LITERAL = r"(?:-?\d+|'[^'\n]*')"
_CONSTANTS = re.compile(
    rf"^local ([A-Z][A-Z\d_]*(?:, [A-Z][A-Z\d_]*)*) = ({_LITERAL}(?:, {_LITERAL})*)\n", re.MULTILINE
)
#: A function of the script's first level, or a value that has a constant's name.
_DEFINITION = re.compile(r"^local (?:function (\w+)\(.*\n(?:.*\n)*?end|([A-Z][A-Z\d_]*) = .*)\n", re.MULTILINE)
_NAME, _WORD = re.compile(r"(?<![\w.'])[A-Z][A-Z\d_]*(?![\w'])"), re.compile(r"\w+")
_FOLDER = resources.files(__package__) / "lua"

#: Who is there and runs jobs says so as real time passes, also where the clock is moved by hand.
_OF_REAL_TIME = frozenset({"announce", "workers"})
#: Scripts that run for each job, or nearly, of which there is a short one, too.
SHORTENED = frozenset({"add", "claim", "extend", "finish"})
#: What the answer begins with of a short script that met something for which the whole one is needed.
WHOLE_IS_NEEDED = "TOCSIN_WHOLE"
_GIVES_UP = f"local function rare()\n  error({{err='{WHOLE_IS_NEEDED}'}})\nend\n"


def names() -> list[str]:
    """Names of all scripts."""
    return sorted(entry.name.removesuffix(".lua") for entry in _FOLDER.iterdir() if entry.name.endswith(".lua"))


@cache
def _text(path: str) -> str:
    return (_FOLDER / path).read_text()


def source(name: str, constants: Mapping[str, int | str], *, short: bool = False) -> str:
    """A script as Redis gets it: its first line, then the helpers and its own text, made lean. `short`: without what is
    rare; it ends with WHOLE_IS_NEEDED, before it has written anything, where that is needed."""
    return _source(name, tuple(sorted(constants.items())), short)


@cache  # it takes some milliseconds, and a process opens a store more than once
def _source(name: str, constants: tuple[tuple[str, int | str], ...], short: bool) -> str:
    first, _, body = _text(f"{name}.lua").partition("\n")
    given = "".join(f"local {constant} = {value!r}\n" for constant, value in constants)
    found = _INCLUDE.search(body)
    wanted = found[1].split() if found else []
    if "lib/clock" in wanted and ("MANUAL", 1) in constants and name not in _OF_REAL_TIME:
        wanted.insert(wanted.index("lib/clock") + 1, "lib/offset")
    helpers = [_text(f"{helper}.lua") for helper in wanted]
    if short:
        helpers = [_GIVES_UP if text == _text("lib/rare.lua") else _RARE.sub("", text) for text in helpers]
        body = _RARE.sub("", body)
    return f"{first}\n{lean(given + ''.join(helpers) + body)}"


def lean(text: str) -> str:
    """The same script without comments, names of constants, and definitions that nothing refers to."""
    text = _COMMENT.sub("", text)
    values: dict[str, str] = {}
    for names_, literals in _CONSTANTS.findall(text):
        values.update(zip(names_.split(", "), re.findall(_LITERAL, literals), strict=True))
    # Not in strings, and not the name of a table's field.
    text = _NAME.sub(lambda found: values.get(found[0], found[0]), _CONSTANTS.sub("", text))

    definitions = list(_DEFINITION.finditer(text))
    needed = set(_WORD.findall(_DEFINITION.sub("", text)))
    kept: set[re.Match[str]] = set()
    while found := [one for one in definitions if one not in kept and (one[1] or one[2]) in needed]:
        kept.update(found)
        needed.update(*(_WORD.findall(one[0]) for one in found))
    for one in reversed(definitions):
        if one not in kept:
            text = text[: one.start()] + text[one.end() :]
    return text
