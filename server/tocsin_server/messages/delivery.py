"""Sends one message to all who are to get it, whatever becomes of some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tocsin_server.messages.errors import Deferred, NotAllSent, Refused
from tocsin_server.messages.mark import written

_SAID_CHARACTERS = 300  # of one channel's trouble, in an error


class Channel(Protocol):
    """One way to people: e-mail or text message, with the message to be sent."""

    @property
    def name(self) -> str:
        """Its key in the job's result."""

    @property
    def addresses(self) -> Sequence[str]:
        """Who is to get it."""

    @property
    def missing(self) -> str:
        """Why nothing can be sent this way as the server is set up; "" where it can."""

    async def send(self, place: int) -> Mapping[str, object]:
        """Send it to addresses[place]. Returns what the result is to say of it. Refused, Deferred."""


@dataclass(slots=True)
class _Course:
    """How far one channel came."""

    channel: Channel
    reached: set[int] = field(default_factory=set)  # places in channel.addresses, in earlier attempts too
    earlier: list[str] = field(default_factory=list)
    accepted: list[dict[str, object]] = field(default_factory=list)
    refused: list[dict[str, object]] = field(default_factory=list)
    deferred: list[Deferred] = field(default_factory=list)
    broken: Exception | None = None

    async def run(self) -> None:
        """One after another, so that a provider is never met with a hundred calls at once."""
        if self.channel.missing:
            return
        for place, address in enumerate(self.channel.addresses):
            if place in self.reached:
                self.earlier.append(address)
                continue
            try:
                said = await self.channel.send(place)
            except Refused as error:
                self.refused.append({"address": address, "answer": str(error)})
            except Deferred as error:
                self.deferred.append(error)
                if error.everyone:
                    return
            except Exception as error:  # whatever it is, nobody who was reached may be forgotten over it
                self.broken = error
                return
            else:
                self.reached.add(place)
                self.accepted.append({"address": address, **said})

    @property
    def trouble(self) -> str:
        """Why the job has not succeeded by this channel, "" where it has: a refused one among others is no failure."""
        if self.broken is not None:
            why = type(self.broken).__name__
        elif self.deferred:
            why = str(self.deferred[0])
        elif self.channel.missing:
            why = self.channel.missing
        elif not self.reached and self.refused:
            why = str(self.refused[0]["answer"])
        else:
            return ""
        left = len(self.channel.addresses) - len(self.reached)
        return f"{self.channel.name}, {left} not reached: {why[:_SAID_CHARACTERS]}"

    def result(self) -> dict[str, object]:
        result: dict[str, object] = {"accepted": self.accepted, "refused": self.refused}
        if self.earlier:
            result["earlier"] = self.earlier
        return result


async def deliver(channels: Sequence[Channel], before: frozenset[int], digest: str) -> dict[str, dict[str, object]]:
    """Send to all but those reached `before`: places over all channels, one after another, from 0.

    Returns for each channel {"accepted": [{"address", ...}], "refused": [{"address", "answer"}], "earlier": [address]}.
    Raises NotAllSent where a later attempt may reach more, and Refused where there is a channel over which nobody can
    be reached; their messages begin with the mark of those who were.
    """
    courses, first = [], 0
    for channel in channels:
        places = range(first, first + len(channel.addresses))
        courses.append(_Course(channel, {place - first for place in before if place in places}))
        first = places.stop
    # Channels go side by side: an SMS need not wait until a mail server that is away is given up.
    await asyncio.gather(*(course.run() for course in courses))

    troubles = [course.trouble for course in courses if course.trouble]
    if not troubles:
        return {course.channel.name: course.result() for course in courses}
    message = "; ".join([_mark(courses, first, digest), *troubles] if any(c.reached for c in courses) else troubles)
    raise _failure(courses, message)


def _mark(courses: Sequence[_Course], total: int, digest: str) -> str:
    reached, first = set(), 0
    for course in courses:
        reached |= {first + place for place in course.reached}
        first += len(course.channel.addresses)
    return written(reached, total, digest)


def _failure(courses: Sequence[_Course], message: str) -> NotAllSent | Refused:
    broken = next((course.broken for course in courses if course.broken is not None), None)
    deferred = [error for course in courses for error in course.deferred]
    if broken is None and not deferred:
        return Refused(message)
    waits = [error.retry_in for error in deferred if error.retry_in is not None]
    failure = NotAllSent(message, retry_in=max(waits, default=None))
    failure.__cause__ = broken
    return failure
