"""Scripts as Redis gets them."""

from __future__ import annotations

import re

import pytest
from support.source_tree import LUA
from tocsin_server.store.redis.script_text import lean, names, source

_FUNCTIONS = {
    name
    for helper in (LUA / "lib").glob("*.lua")
    for name in re.findall(r"^local function (\w+)", helper.read_text(), re.M)
}
CONSTANTS: dict[str, int | str] = {"EVENTS_MAX": 100, "MAX_CRASHES": 3, "MANUAL": 0, "CLOCK": ""}


def test_constants_stand_where_they_are_used_and_not_in_strings_or_names_of_fields() -> None:
    text = "local ACTIVE, FORM = 4, '>I6'\nif job.state == ACTIVE then verbs.ACTIVE = f('ACTIVE', FORM, INACTIVE) end\n"

    assert lean(text) == "if job.state == 4 then verbs.ACTIVE = f('ACTIVE', '>I6', INACTIVE) end\n"


def test_what_nothing_refers_to_is_left_out_with_what_only_it_refers_to() -> None:
    text = """-- why
local S_KEY = key('s')
local A_KEY = key('a')
-- why
local function deepest(job)
  return job and S_KEY
end

local function middle(job)
  if job then
    return deepest(job)
  end
end

local function used()
  return A_KEY
end
return used()
"""

    assert lean(text) == "local A_KEY = key('a')\n\n\nlocal function used()\n  return A_KEY\nend\nreturn used()\n"


@pytest.mark.parametrize("name", names())
def test_each_script_defines_what_it_calls_and_calls_what_it_defines(name: str) -> None:
    text = source(name, CONSTANTS)

    assert text.startswith("#!lua")
    defined = set(re.findall(r"^local function (\w+)", text, re.MULTILINE))
    rest = re.sub(r"^local function \w+", "", text, flags=re.MULTILINE)
    assert _FUNCTIONS & set(re.findall(r"(?<![\w.])(\w+)\(", rest)) <= defined <= set(re.findall(r"\w+", rest))


def test_only_scripts_of_a_store_whose_clock_is_moved_by_hand_read_how_far() -> None:
    by_hand = CONSTANTS | {"MANUAL": 1, "CLOCK": "tests:clock"}
    reading = "NOW = NOW + (redis.call('GET', 'tests:clock') or 0)"

    assert [name for name in names() if "redis.call('GET', '')" in source(name, CONSTANTS)] == []
    assert reading in source("claim", by_hand)
    assert reading not in source("announce", by_hand)
