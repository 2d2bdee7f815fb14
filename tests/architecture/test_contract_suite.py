"""The contract suite holds each store to the same promises: the same tests, in the same number, and none left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping

import pytest
from contract.providers import ENCRYPTED, flavours
from support.source_tree import ROOT

SUITE = ROOT / "tests/contract"
_TEST = re.compile(r"^(?P<name>\S+::\w+)\[(?P<flavour>\w+)-?(?P<case>.*)\]$")


@pytest.fixture(scope="module")
def collected() -> dict[str, list[str]]:
    """Names of the tests, parameters included, by flavour."""
    return collected_with({"TESTS_ENCRYPTED": "all", "TESTS_MONGO": "whole"})


def collected_with(environment: Mapping[str, str]) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", "tests/contract"]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    found: dict[str, list[str]] = defaultdict(list)
    for line in done.stdout.splitlines():
        if "::" in line:
            test = _TEST.match(line)
            assert test, f"{line} runs on no store"
            found[test["flavour"]].append(f"{test['name']}[{test['case']}]")
    return found


def test_each_store_runs_the_same_tests(collected: dict[str, list[str]]) -> None:
    assert set(collected) == {flavour.name for flavour in flavours()}
    assert {flavour.provider for flavour in flavours()} == {"redis", "mongo"}
    first, *others = (sorted(names) for names in collected.values())
    assert len(first) > 400
    assert [names for names in others if names != first] == []


def test_an_encrypted_store_runs_a_good_part_by_default(collected: dict[str, list[str]]) -> None:
    shares = {}
    for wanted in ("", "most"):
        found = collected_with({"TESTS_ENCRYPTED": wanted, "TESTS_MONGO": "whole"})
        shares[wanted] = {name: len(found[name]) / len(collected[name]) for name in collected}
    assert {share for name, share in shares[""].items() if not name.startswith(ENCRYPTED)} == {1}
    assert shares[""][f"{ENCRYPTED}valkey"] > 0.2
    assert shares["most"][f"{ENCRYPTED}valkey"] == 1
    assert shares["most"][f"{ENCRYPTED}mongo"] > 0.2


def test_what_is_left_to_redis_alone_is_run_with_the_rest(collected: dict[str, list[str]]) -> None:
    plain, rest = (collected_with({"TESTS_ENCRYPTED": "all", "TESTS_MONGO": wanted}) for wanted in ("", "rest"))
    assert set(rest) == {"mongo"}
    assert sorted(plain["mongo"] + rest["mongo"]) == sorted(collected["mongo"])
    assert len(plain["mongo"]) > 400
    assert {name: len(names) for name, names in plain.items() if name != "mongo"} == {
        name: len(names) for name, names in collected.items() if name != "mongo"
    }


def test_no_test_of_the_suite_is_left_out_or_knows_its_store() -> None:
    forbidden = re.compile(
        r"pytest\.(skip|xfail|importorskip)|mark\.(skip|xfail)"
        r"|flavour\.\w+ (==|!=|in\b|is\b)|isinstance\(\s*(store|provider)\b"
    )
    found = {
        f"{path.name}:{number}"
        for path in SUITE.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if forbidden.search(line)
    }
    assert found == set()
