"""Lua files, the store's methods and the code that runs them name the same things."""

from __future__ import annotations

import re

import pytest
from support.source_tree import LUA
from tocsin_server.store.calendar_store import CalendarStore
from tocsin_server.store.dependency_store import DependencyStore
from tocsin_server.store.interface import JobStore
from tocsin_server.store.redis.calendars import RedisCalendars
from tocsin_server.store.redis.dependencies import RedisDependencies
from tocsin_server.store.redis.schedules import RedisSchedules
from tocsin_server.store.redis.sealed import RedisSealed
from tocsin_server.store.redis.shared import RedisSharedPlaces
from tocsin_server.store.redis.store import RedisStore
from tocsin_server.store.schedule_store import ScheduleStore
from tocsin_server.store.sealed_store import SealedStore
from tocsin_server.store.shared_limit_store import SharedPlaces

SCRIPTS = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
HELPERS = {path.stem for path in (LUA / "lib").glob("*.lua")}
_CALL = re.compile(r'(?:_run|_run_all|\.run)\(\s*"(\w+)"')


def test_each_script_is_named_for_the_store_method_that_runs_it() -> None:
    assert SCRIPTS
    methods = {
        name
        for kind in (JobStore, ScheduleStore, CalendarStore, DependencyStore, SealedStore, SharedPlaces)
        for name in vars(kind)
    }
    methods |= {f"{name}_limited" for name in methods}  # of a queue with limits: others pay nothing for what it asks
    assert set(SCRIPTS) <= {name for name in methods if not name.startswith("_")}


def test_each_script_is_run_by_the_store_and_each_one_run_is_there() -> None:
    source = "".join(path.read_text() for path in LUA.parent.glob("*.py"))
    assert set(_CALL.findall(source)) == set(SCRIPTS)


def test_the_store_has_every_method_of_the_interface() -> None:
    assert RedisStore.__abstractmethods__ == frozenset()
    assert RedisSchedules.__abstractmethods__ == frozenset()
    assert RedisCalendars.__abstractmethods__ == frozenset()
    assert RedisDependencies.__abstractmethods__ == frozenset()
    assert RedisSealed.__abstractmethods__ == frozenset()
    assert RedisSharedPlaces.__abstractmethods__ == frozenset()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_begins_with_its_contract(name: str) -> None:
    first, second, *rest = SCRIPTS[name].splitlines()
    assert first.startswith("#!lua"), "without it a cluster lets keys of another slot pass"
    assert second.startswith(f"-- {name}: ")
    header = "\n".join(line for line in rest if line.startswith("--"))
    assert "KEYS[1]" in header
    assert "Returns" in header


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_includes_helpers_that_are_there(name: str) -> None:
    included = set(re.findall(r"lib/(\w+)", " ".join(re.findall(r"^--- @include (.*)$", SCRIPTS[name], re.M))))
    assert included <= HELPERS


def test_each_helper_is_used() -> None:
    assert {helper for helper in HELPERS if not any(f"lib/{helper}" in text for text in SCRIPTS.values())} == set()


def test_the_clock_has_one_reader() -> None:
    """Times come from the server's TIME alone, read in one helper, so that all would follow if it were moved."""
    read = re.compile(r"""(?:call|execute|execute_command)\(\s*['"]TIME\b""")
    files = [*LUA.parent.rglob("*.py"), *LUA.rglob("*.lua")]
    assert [file.name for file in files if read.search(file.read_text())] == ["clock.lua"]
