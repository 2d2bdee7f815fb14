"""Claims on Redis: one script for queues without limits, so that these pay nothing for what others ask, and one for
queues that have some. Which of them a queue needs is learned from the answer of the other."""

from __future__ import annotations

from typing import Any, Protocol

_LIMITS, _NONE = b"L", b"N"  # the other script's queue
#: What the script of queues with limits says of a queue that has shared ones, without a grant, and with an old one.
NEEDS_GRANT, REFUSED = b"S", b"V"


class RunScript(Protocol):
    """Runs a script on a queue."""

    async def __call__(self, script: str, queue: str, *arguments: bytes | str | int) -> Any: ...


class Claiming:
    """Knows which queues have limits, as far as claims have told."""

    def __init__(self, run: RunScript) -> None:
        self._run = run
        self._limited: set[str] = set()

    async def claim(self, queue: str, *asked: bytes | str | int) -> Any:
        """The answer of the script that fits the queue."""
        if queue not in self._limited:
            return await self.settled(queue, await self._run("claim", queue, *asked), *asked)
        answer = await self._run("claim_limited", queue, *asked)
        if answer[1] != _NONE:
            return answer
        self._limited.discard(queue)
        return await self.claim(queue, *asked)

    async def claim_granted(self, queue: str, version: int, *asked: bytes | str | int) -> Any:
        """The answer of a claim by a grant of this version."""
        repeated = "1" if asked[3] else "0"
        return await self._run("claim_limited", queue, *asked[:3], f"{repeated} {version}", *asked[4:])

    async def settled(self, queue: str, answer: Any, *asked: bytes | str | int) -> Any:
        """The answer of claim.lua, or what the other script says where the queue turned out to have limits."""
        if answer[1] != _LIMITS:
            return answer
        self._limited.add(queue)
        return await self.claim(queue, *asked)
