"""A server with nothing to do asks little of its store, and no more where there are many queues."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

from contract.builders import HOUR, a_draft, added
from support.mongo_servers import DATABASE, MongoServer
from support.mongo_stores import opened
from support.mongo_wire import command_of
from support.servers import Server
from support.tcp_proxy import Fate, TcpProxy

COLLECTION = "idle"
SETTLED, COUNTED = 4, 10  # ticks: until nothing of the start goes on, and those that are counted; one a second
_OF_CONNECTIONS = {"hello", "ismaster", "endSessions"}


class Ear:
    """Counts the commands that pass a proxy, from one tick to another."""

    def __init__(self) -> None:
        self._ticks = 0
        self.heard: Counter[str] = Counter()
        self.done = threading.Event()

    def hear(self, piece: bytes) -> bool:
        """Take note, and let it pass."""
        command = command_of(piece)
        name = next(iter(command), "")
        self._ticks += _is_tick(command)
        if self._ticks == SETTLED + COUNTED:
            self.done.set()
        elif self._ticks >= SETTLED and name and name not in _OF_CONNECTIONS:
            self.heard[name] += 1
        return False


def _is_tick(command: dict[str, Any]) -> bool:
    looks = [stage for stage in command.get("pipeline", []) if "$lookup" in stage]
    return command.get("aggregate") == f"{COLLECTION}.queues" and len(looks) > 1


async def test_a_server_with_nothing_to_do_asks_little_whatever_its_queues(tmp_path: Path, server: MongoServer) -> None:
    async with opened(server.url, COLLECTION) as store:
        await added(store, *(a_draft(queue=f"q{number}", when=HOUR) for number in range(20)))
    ear = Ear()
    with TcpProxy("127.0.0.1", server.port) as proxy:
        proxy.order(ear.hear, Fate.HELD)
        url = f"mongodb://127.0.0.1:{proxy.port}/{DATABASE}?directConnection=true"
        env = {"QUEUE_PROVIDER": "mongo", "MONGODB_URL": url, "QUEUE_COLLECTION": COLLECTION}
        running = Server(tmp_path, env=env)
        running.start()
        try:
            assert ear.done.wait(timeout=60)
        finally:
            running.kill()
    # 2.2 a second, and one: kinds have beats of their own, so that more of some may fall within.
    assert ear.heard["aggregate"] <= COUNTED + 2
    assert ear.heard.total() <= 2.2 * COUNTED + 1, ear.heard
