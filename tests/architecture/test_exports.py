"""The public surface of the client is one list."""

from __future__ import annotations

import subprocess
import sys

import tocsin


def test_the_exported_names_are_sorted_and_there() -> None:
    assert list(tocsin.__all__) == sorted(tocsin.__all__)
    assert [name for name in tocsin.__all__ if not hasattr(tocsin, name)] == []


def test_nothing_else_looks_public() -> None:
    public = {name for name, value in vars(tocsin).items() if not name.startswith("_") and not _is_module(value)}
    assert public - {"annotations"} == set(tocsin.__all__) - {"__version__"}


def test_the_contracts_names_are_exported() -> None:
    assert {"AsyncClient", "Client", "Handlers", "JobContext"} <= set(tocsin.__all__)


def test_the_client_starts_without_the_servers_packages() -> None:
    """`pip install tocsin` has none of them."""
    hidden = "redis, uvloop, structlog, pydantic, typer, rich, jinja2, aiosmtplib, grpc_health, grpc_reflection"
    code = f"import sys\nfor name in '{hidden}'.split(', '): sys.modules[name] = None\nimport tocsin\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_server_without_tls_logins_and_keys_loads_no_cryptography() -> None:
    """It takes a tenth of a second and 9 MB."""
    looked = "[name for name in sys.modules if name.startswith(('cryptography.hazmat', 'jwt'))]"
    code = f"import sys, tocsin_server.server; print({looked})"
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def _is_module(value: object) -> bool:
    return type(value) is type(sys)
