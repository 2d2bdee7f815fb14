"""`bulk` of both clients: a line a method over `_bulk_action_calls`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Unpack

from tocsin import _bulk_action_calls as _calls
from tocsin._connection import Connection
from tocsin._loop_thread import LoopThread
from tocsin.bulk_actions import BulkOptions, BulkPreview, BulkProgress, BulkVerb


class AsyncBulk:
    """`AsyncClient.bulk`: one act on all jobs of a queue that match."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def preview(self, verb: BulkVerb, **options: Unpack[BulkOptions]) -> BulkPreview:
        """A dry run: how many jobs match, by state and type, and which, for instance. Changes nothing. Raises
        InvalidArgument."""
        return await _calls.previewed(self._connection, _calls.bulk_request(verb, options, dry_run=True))

    async def act(
        self, what: BulkPreview | BulkVerb, **options: Unpack[BulkOptions]
    ) -> AsyncGenerator[BulkProgress, None]:
        """Act, and tell how far it is, some twice a second until it is `finished`. What acts is a job of the server's:
        to read no further stops nothing.

        On what a preview found; a cut connection is mended then. Or at once on what matches now: after an error that
        leaves open whether the action has begun, look at the jobs of the queue "tocsin.bulk". Raises InvalidArgument,
        PermissionDenied, and FailedPrecondition where a preview is too old.
        """
        async with aclosing(_calls.acted(self._connection, _calls.acting_request(what, options))) as steps:
            async for step in steps:
                yield step

    async def run(self, what: BulkPreview | BulkVerb, **options: Unpack[BulkOptions]) -> BulkProgress:
        """Act, and return what became of it once it has ended: look whether it says `error`. Raises as `act`."""
        return [step async for step in self.act(what, **options)][-1]


class Bulk:
    """`Client.bulk`: one act on all jobs of a queue that match."""

    def __init__(self, loop: LoopThread, connection: Connection) -> None:
        self._loop = loop
        self._connection = connection

    def preview(self, verb: BulkVerb, **options: Unpack[BulkOptions]) -> BulkPreview:
        """A dry run: how many jobs match, by state and type, and which, for instance. Changes nothing. Raises
        InvalidArgument."""
        return self._loop.run(_calls.previewed(self._connection, _calls.bulk_request(verb, options, dry_run=True)))

    def act(self, what: BulkPreview | BulkVerb, **options: Unpack[BulkOptions]) -> Iterator[BulkProgress]:
        """Act, and tell how far it is, some twice a second until it is `finished`. What acts is a job of the server's:
        to read no further stops nothing.

        On what a preview found; a cut connection is mended then. Or at once on what matches now: after an error that
        leaves open whether the action has begun, look at the jobs of the queue "tocsin.bulk". Raises InvalidArgument,
        PermissionDenied, and FailedPrecondition where a preview is too old.
        """
        request = _calls.acting_request(what, options)
        return self._loop.iterate(_calls.acted(self._connection, request))

    def run(self, what: BulkPreview | BulkVerb, **options: Unpack[BulkOptions]) -> BulkProgress:
        """Act, and return what became of it once it has ended: look whether it says `error`. Raises as `act`."""
        return list(self.act(what, **options))[-1]
