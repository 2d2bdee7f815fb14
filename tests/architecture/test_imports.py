"""Imports go only the ways the design allows. The rules stand in pyproject.toml, where `lint-imports` reads them too;
these tests read the same rules with nothing but the standard library, so that the plain test command checks them."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from support.source_tree import PACKAGES, ROOT, imports, modules, within

CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
LAYERS: list[list[str]] = [
    [part.strip(" ()") for part in layer.replace(":", "|").split("|")]
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for layer in contract["layers"]
]
EDGES = [(name, target) for name, path in modules() for target in imports(name, path)]


def layer_of(name: str) -> int | None:
    return next((depth for depth, rooms in enumerate(LAYERS) if any(within(name, room) for room in rooms)), None)


def test_imports_go_down_only() -> None:
    wrong = []
    for name, target in EDGES:
        here, there = layer_of(name), layer_of(target)
        if here is not None and there is not None and there < here:
            wrong.append(f"{name} imports {target}, which lies above it")
    assert wrong == []


@pytest.mark.parametrize("contract", [c for c in CONTRACTS if c["type"] == "forbidden"], ids=lambda c: str(c["name"]))
def test_forbidden_imports_are_absent(contract: dict[str, Any]) -> None:
    let = {tuple(rule.split(" -> ")) for rule in contract.get("ignore_imports", [])}
    wrong = [
        f"{name} imports {target}"
        for name, target in EDGES
        if any(within(name, source) for source in contract["source_modules"])
        and any(within(target, forbidden) for forbidden in contract["forbidden_modules"])
        and not any(name == source and within(target, allowed) for source, allowed in let)
    ]
    assert wrong == []


def test_each_room_of_the_server_has_its_place_in_the_order() -> None:
    side_rooms = {"background", "security", "settings", "telemetry", "version"}
    rooms = {name.split(".")[1] for name, _ in modules() if name.startswith("tocsin_server.")}
    assert {room for room in rooms - side_rooms if layer_of(f"tocsin_server.{room}") is None} == set()


def test_the_domain_needs_nothing_but_the_standard_library_and_cronsim() -> None:
    import sys

    allowed = {*sys.stdlib_module_names, "tocsin_server", "cronsim"}  # cronsim reads lines of cron, and is as pure
    used = {target.split(".")[0] for name, target in EDGES if within(name, "tocsin_server.domain")}
    assert used - allowed == set()


def test_the_walk_sees_both_packages() -> None:
    """A walk that finds nothing would make every rule above hold."""
    assert len(EDGES) > 300
    assert {name.split(".")[0] for name, _ in EDGES} == set(PACKAGES)
