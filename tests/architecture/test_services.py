"""Each RPC of the protos is answered by code of ours."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import tocsin.v1
import tocsin_server.api


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
def test_each_rpc_is_overridden(service: str) -> None:
    base = SERVICERS[service]
    _all_modules(tocsin_server.api)
    built = [cls for cls in base.__subclasses__() if cls.__module__.startswith("tocsin_server.")]
    assert len(built) == 1, f"{service} has {len(built)} classes under tocsin_server.api"
    rpcs = [name for name in vars(base) if not name.startswith("_")]
    inherited = [name for name in rpcs if getattr(built[0], name) is getattr(base, name)]
    assert rpcs
    assert inherited == []
