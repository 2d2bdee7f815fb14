"""Exports and imports of one server."""

from __future__ import annotations

from tocsin_server.operations.queues import Queues
from tocsin_server.operations.transfer.draining import Drain
from tocsin_server.operations.transfer.exporting import Exporting
from tocsin_server.operations.transfer.importing import Importing
from tocsin_server.operations.transfer.placing import Placing
from tocsin_server.store.interface import JobStore


class Transfers:
    """What moves jobs in and out; `drain` ends all that is under way."""

    def __init__(self, store: JobStore, queues: Queues) -> None:
        self._drain = Drain()
        self.sealer = store.record_sealer
        self.exporting = Exporting(store, self._drain)
        self.importing = Importing(store, Placing(store, queues), self._drain)

    def drain(self) -> None:
        """End exports with Draining, and imports too, or with what says that they had begun."""
        self._drain.begin()
