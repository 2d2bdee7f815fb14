"""The pytest plugin: fixtures `tocsin_server`, `tocsin` and `tocsin_clock`. What no test asks for is not started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tocsin.client import Client
    from tocsin.testing.server import DrivenClock, JobServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting that names the handlers."""
    parser.addini("tocsin_handlers", "modules of handlers that the server of tests runs", type="args", default=[])


@pytest.fixture
def tocsin_server(request: pytest.FixtureRequest) -> Iterator[JobServer]:
    """A server of this test's own, with the handlers that pytest's setting `tocsin_handlers` names."""
    from tocsin.testing.server import job_server

    with job_server(*request.config.getini("tocsin_handlers")) as server:
        yield server


@pytest.fixture
def tocsin(tocsin_server: JobServer) -> Client:
    """A client of that server."""
    return tocsin_server.client


@pytest.fixture
def tocsin_clock(tocsin_server: JobServer) -> DrivenClock:
    """Its clock: `tocsin_clock.advance(days=3)`."""
    return tocsin_server.clock
