"""What the store or its driver said of a failure: callers are told a plain sentence, the log has the words."""

from __future__ import annotations

import time

import structlog

from tocsin_server.domain.errors import TocsinError

_AGAIN = 10.0  # seconds between two lines of one kind
_DETAIL = 300  # characters

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.store")


def words_behind(refusal: TocsinError) -> str:
    """What the store or its driver said, for who starts a server or examines its store; never for callers."""
    seen: list[BaseException] = []
    behind: list[BaseException | None] = [refusal]
    while behind:  # a refusal may stand for another one, or have been raised from itself
        error = behind.pop()
        if error is None or error in seen:
            continue
        if not isinstance(error, TocsinError):
            return str(error)[:_DETAIL]
        seen.append(error)
        behind += [error.__context__, error.__cause__]
    return ""


class RefusalLog:
    """A line for the first failure of each kind, and one at most each ten seconds while it lasts. Silent until the
    store has been opened: till then, who opens it says what stands in the way."""

    def __init__(self) -> None:
        self.opened = False
        self._said: dict[str, float] = {}

    def note(self, refusal: TocsinError, error: BaseException) -> None:
        """`error` is what `refusal` stands for."""
        if not self.opened:
            return
        kind, now = str(refusal), time.monotonic()
        if now - self._said.get(kind, -_AGAIN) >= _AGAIN:
            self._said[kind] = now
            detail = (str(error) or type(error).__name__)[:_DETAIL]
            _log.warning("store_refusal", refusal=refusal.reason, detail=detail, error=type(error).__name__)
