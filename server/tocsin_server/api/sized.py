"""Keeps an answer below its limit: the one counter of what it may still hold."""

from __future__ import annotations

from google.protobuf.message import Message

from tocsin_server.domain import limits

_BESIDE = 4_096  # bytes of what an answer has beside its entries: a token, a total
_AROUND_ENTRY = 6  # bytes of a tag and a length


def too_large(answer: Message) -> bool:
    """Whether it passes the limit of an answer."""
    return answer.ByteSize() > limits.RESPONSE_BYTES


class AnswerRoom:
    """What an answer may still hold."""

    __slots__ = ("_any", "_left")

    def __init__(self, beside: int = _BESIDE) -> None:
        self._left = limits.RESPONSE_BYTES - beside
        self._any = False

    def takes(self, entry: Message) -> bool:
        """Whether one more entry has room, and it is counted then. The first always has: it stays below by its own
        limits."""
        size = entry.ByteSize() + _AROUND_ENTRY
        if size > self._left and self._any:
            return False
        self._left -= size
        self._any = True
        return True
