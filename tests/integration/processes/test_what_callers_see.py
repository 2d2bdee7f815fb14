"""What any caller may read of the machine that a server runs on: its host's name, and no more."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

from support.redis_backend import RedisBackend
from support.servers import Server
from support.stubs import Stubs
from tocsin.v1 import server_service_pb2


def test_a_server_tells_its_hosts_name_and_neither_its_process_nor_its_folders(
    redis: RedisBackend, serve: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    server = serve(
        redis.url,
        TOCSIN_REPORTS__FOLDER=str(tmp_path / "file" / "reports"),
        TOCSIN_MAIL__TEMPLATES=str(tmp_path / "gone"),
        TOCSIN_LOG__FORMAT="json",
    )
    with Stubs(server.address) as stubs:
        info, health = stubs.server.GetServerInfo(server_service_pb2.GetServerInfoRequest()), stubs.health("q")
    assert info.server.startswith(f"{socket.gethostname()}:")
    assert [worker.worker for worker in health.workers] == [info.server, f"{info.server}/http"]
    assert {warning.partition(":")[0] for warning in health.warnings} >= {"mail.templates", "report_generation"}
    for told in (info, health):
        assert str(tmp_path) not in str(told)
        assert str(server.pid) not in str(told).replace(":", " ").replace('"', " ").split()
    [serving] = [line for line in map(json.loads, server.log.read_text().splitlines()) if line["event"] == "serving"]
    assert (serving["server"], serving["pid"]) == (info.server, server.pid)
