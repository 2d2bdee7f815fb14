"""Sequences of calls on a store and on the model: made, repeated, shortened, and printed."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, replace
from datetime import timedelta
from typing import TypeVar

from tocsin_server.domain.job import Job
from tocsin_server.store.interface import JobStore

from contract.model.calls import Add, Both, Call, Plain
from contract.model.drawing import Drawing
from contract.model.limits import Limited
from contract.model.queue_calls import Check, Forget
from contract.model.whole import basic, compare, compare_events, same
from contract.providers import Provider

_serial = itertools.count(1)
#: The store's clock is read with its answers, so what is known of it is a little late; what was due then is due now.
AHEAD = timedelta(seconds=0.5)
#: A sequence that differs is repeated for so long, in seconds, each time with less of it.
SHORTENED_FOR = 30


class Differs(AssertionError):
    """A store and the model do not say the same. kind: about what."""

    def __init__(self, call: Call, error: Exception) -> None:
        self.kind = str(error).partition(":")[0].rpartition(".")[2].partition(" ")[0]
        super().__init__(f"{call!r}: {type(error).__name__}: {error}")


class Life:
    """A queue of its own, and the model of it."""

    def __init__(self, store: JobStore, provider: Provider) -> None:
        self._store, self._provider = store, provider
        self.calls: list[Call] = []

    async def begin(self) -> None:
        """In a queue that nobody has used."""
        now, name = await self._store.ping(), f"q{next(_serial)}."
        self.both = Both(self._store, name, Limited(now), contents=self._provider.contents)
        self.both.cursor = await self._store.cursor(name)
        self._heard = now, time.monotonic()

    async def make(self, call: Call) -> None:
        """One more call, and a look at all that stands then."""
        self.calls.append(call)
        heard, at = self._heard
        self.both.model.now = guess = heard + timedelta(seconds=time.monotonic() - at) + AHEAD
        try:
            await call.on(self.both)
            await self._look()
        except Exception as error:
            raise Differs(call, error) from error
        if self.both.model.now > guess:
            self._heard = self.both.model.now, time.monotonic()

    async def _look(self) -> None:
        both = self.both
        both.model.settle()
        found = await compare(self._store, both.queue, both.model, both.called)
        stand = {job.job_id: job for job in found}
        for job_id, said in both.answers.items():
            for one in fields(Job):
                same(f"the answer's {one.name}", getattr(said, one.name), getattr(basic(stand[job_id]), one.name))
        both.answers.clear()
        both.cursor = await compare_events(self._store, both.queue, both.cursor, both.stand, stand)
        both.stand = stand


async def replay(store: JobStore, provider: Provider, calls: Sequence[Call]) -> None:
    """Make these calls in an emptied store; Differs where the store and the model say different things."""
    provider.clear()
    life = Life(store, provider)
    await life.begin()
    for call in calls:
        await life.make(call)


async def live(store: JobStore, provider: Provider, seed: int, steps: int) -> None:
    """A random life, at whose end the queue is forgotten. Where it differs, the shortest sequence found that differs,
    as code."""
    drawing = Drawing(random.Random(seed))
    life = Life(store, provider)
    await life.begin()
    try:
        for _ in range(steps - 2):
            await life.make(drawing.next(life.both.model))
        await life.make(Check())
        await life.make(Forget(all=True))
    except Differs as first:
        calls, why = await shortest(store, provider, life.calls, first)
        lines = "".join(f"        {call!r},\n" for call in calls)
        raise AssertionError(
            f"seed {seed}, after {len(life.calls)} calls: {first}\n"
            f"In short: {why}\n    await replay(movable, provider, [\n{lines}    ])\n"
        ) from first


async def shortest(
    store: JobStore, provider: Provider, calls: Sequence[Call], why: Differs
) -> tuple[list[Call], Differs]:
    """A sequence that differs with as few calls and words as are found."""
    found, until = list(calls), time.monotonic() + SHORTENED_FOR
    gone_on = True
    while gone_on:
        gone_on = False
        for less in _less(found):
            if time.monotonic() > until:
                return found, why
            try:
                await replay(store, provider, less)
            except Differs as error:
                if error.kind != why.kind:
                    continue
                found, why, gone_on = less, error, True
                break
    return found, why


def _less(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """The same with less of it, the largest part first."""
    size = len(calls) // 2
    while size:
        for start in range(0, len(calls), size):
            yield [*calls[:start], *calls[start + size :]]
        size //= 2
    for at, call in enumerate(calls):
        for other in _plainer(call):
            yield [*calls[:at], other, *calls[at + 1 :]]


def _plainer(call: Call) -> Iterator[Call]:
    """A call with a word less."""
    if not isinstance(call, Add):
        yield from _with_less(call)
        return
    for at, item in enumerate(call.items):
        if len(call.items) > 1:
            yield Add(*call.items[:at], *call.items[at + 1 :])
        for other in _with_less(item):
            yield Add(*call.items[:at], other, *call.items[at + 1 :])


_P = TypeVar("_P", bound=Plain)


def _with_less(plain: _P) -> Iterator[_P]:
    for one in fields(plain):  # type: ignore[arg-type]
        if one.default is not MISSING and getattr(plain, one.name) != one.default:
            yield replace(plain, **{one.name: one.default})  # type: ignore[type-var]
