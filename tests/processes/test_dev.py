"""`tocsin dev`: what a newcomer sees first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.servers import Server
from support.stubs import State, Stubs


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Server]:
    """`tocsin dev` in an empty folder, with nothing configured."""
    server = Server(tmp_path, command="dev")
    yield server.start()
    assert server.stop() == 0


def test_a_first_job_is_seen_completed_then_lines_to_try_are_printed_and_it_serves_on(dev: Server) -> None:
    until(lambda: "COMPLETED" in dev.said(), within=20, what="the first job COMPLETED")
    until(lambda: "from tocsin import Client" in dev.said(), within=5, what="the Python line")
    assert "grpcurl -plaintext" in dev.said()
    assert str(dev.port) in dev.said()
    with Stubs(dev.address) as stubs:
        [first] = stubs.list("default")
        assert first.state == State.COMPLETED
        assert first.schedule_time.ToMilliseconds() - first.create_time.ToMilliseconds() == 3000
