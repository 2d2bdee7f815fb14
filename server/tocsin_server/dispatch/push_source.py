"""The store as a source of jobs that are sent on: of one type from all queues, of others from queues of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tocsin.worker.slots import FreeSlots
from tocsin.worker.source import LeasedJob, Seat

from tocsin_server.dispatch.store_source import StoreSource


class PushSource(StoreSource):
    """Beside the seat that the runtime takes there is one for each queue that has push targets, as `serve` says.

    So whoever learns of a target has a seat taken, and the queue is claimed from for those types, too. All seats share
    the runtime's slots.
    """

    _apart = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._types: dict[str, Collection[str]] = {}  # by queue
        self._row: _Row | None = None

    def sit(
        self,
        types: Collection[str],
        capacity: Callable[[], FreeSlots],
        take: Callable[[Sequence[LeasedJob]], None],
    ) -> Seat:
        def seat(types: Collection[str], queues: Collection[str] | None) -> Seat:
            return self._seat(types, lambda: _Part(capacity(), types), take, queues)

        self._row = _Row(seat(types, self._queues), lambda queue, types: seat(types, [queue]))
        for queue, pushed in self._types.items():
            self._row.serve(queue, pushed)
        return self._row

    def serve(self, queue: str, types: Collection[str]) -> None:
        """Claim these types of the queue from now on, and none that it was before."""
        self._types[queue] = frozenset(types)
        if not types:
            del self._types[queue]
        if self._row is not None:
            self._row.serve(queue, self._types.get(queue, ()))


class _Part:
    """Free slots as far as they are for some types: of no type do two seats say that they take it."""

    def __init__(self, whole: FreeSlots, types: Collection[str]) -> None:
        self._whole = whole
        self._types = types

    @property
    def free(self) -> int:
        return self._whole.free

    def of(self, queue: str) -> Mapping[str, int]:
        return {type_: count for type_, count in self._whole.of(queue).items() if type_ in self._types}

    def take(self, queue: str, type_: str, /) -> bool:
        return type_ in self._types and self._whole.take(queue, type_)


class _Row:
    """Several seats as one."""

    def __init__(self, first: Seat, seat: Callable[[str, Collection[str]], Seat]) -> None:
        self._first = first
        self._make = seat
        self._by_queue: dict[str, Seat] = {}
        self._left = False

    def serve(self, queue: str, types: Collection[str]) -> None:
        if self._left:
            return
        old = self._by_queue.pop(queue, None)
        if types:
            self._by_queue[queue] = self._make(queue, types)
        if old is not None:  # after the new one has come, so that the queue is served all the time
            old.leave()

    def widened(self) -> None:
        for seat in (self._first, *self._by_queue.values()):
            seat.widened()

    def leave(self) -> None:
        self._left = True
        for seat in (self._first, *self._by_queue.values()):
            seat.leave()
