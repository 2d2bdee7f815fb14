"""Stubs on the shared servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.servers import Server
from support.stubs import Stubs


@pytest.fixture(scope="session")
def stubs(shared_server: Server) -> Iterator[Stubs]:
    """Plain stubs to the server that runs everyday jobs."""
    with Stubs(shared_server.address) as stubs:
        yield stubs


@pytest.fixture(scope="session")
def quiet(quiet_server: Server) -> Iterator[Stubs]:
    """Plain stubs to the server that runs no jobs."""
    with Stubs(quiet_server.address) as stubs:
        yield stubs
