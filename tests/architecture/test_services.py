"""Each RPC of the protos is answered by code of ours, and the table of services names nothing else."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import tocsin.v1
from tocsin_server.api.methods import Service
from tocsin_server.api.services import ALL_NAMES, PROBES, SERVICES


def _all_modules(package: object) -> list[object]:
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]  # a package has both
    return [importlib.import_module(found.name) for found in pkgutil.walk_packages(path, name + ".")]


def _servicers() -> dict[str, type]:
    """The generated base class of each service, by service name."""
    return {
        name.removesuffix("Servicer"): value
        for module in _all_modules(tocsin.v1)
        for name, value in vars(module).items()
        if name.endswith("Servicer") and isinstance(value, type)
    }


SERVICERS = _servicers()


@pytest.mark.parametrize("service", sorted(SERVICERS))
def test_each_rpc_is_answered(service: str) -> None:
    rpcs = [name for name in vars(SERVICERS[service]) if not name.startswith("_")]
    rows = [row for row in SERVICES if row.descriptor.name == service]
    assert len(rows) == 1, f"{service} has {len(rows)} rows in api/services.py"
    assert rpcs
    assert [name for name in rpcs if name not in vars(rows[0].servicer)] == []


@pytest.mark.parametrize("row", [*SERVICES, *PROBES], ids=lambda row: row.served_as)
def test_what_a_row_says_of_methods_is_said_of_methods_that_there_are(row: Service) -> None:
    names = {method.name for method in row.descriptor.methods}
    assert row.reads | row.transfers <= names
    assert names <= set(vars(row.servicer))


def test_no_name_is_served_twice() -> None:
    assert len(set(ALL_NAMES)) == len(ALL_NAMES)
