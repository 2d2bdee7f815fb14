"""One real server, on the embedded store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.servers import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(tmp_path_factory.mktemp("server"))
    try:
        yield served.start()
    finally:
        served.kill()
