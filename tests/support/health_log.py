"""What a server said of its health, from beginning to end."""

from __future__ import annotations

import threading

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


class HealthLog:
    """Watches the health of the whole server in a thread. A context manager. `seen` has each change, in order."""

    def __init__(self, address: str) -> None:
        self.seen: list[int] = []
        self._channel = grpc.insecure_channel(address)
        self._watch = health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest())
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> HealthLog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self._thread.join(10)
        self._channel.close()

    def _run(self) -> None:
        try:
            for answer in self._watch:
                self.seen.append(answer.status)
        except grpc.RpcError:
            return
