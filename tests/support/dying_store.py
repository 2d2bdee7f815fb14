"""A real store whose caller dies at its nth call, before the call is sent or once it has acted."""

from __future__ import annotations

from typing import Any, cast

from tocsin_server.store.interface import JobStore


class Died(BaseException):
    """The process is gone. No handler of errors sees it."""


class DyingStore:
    """Passes calls on until the `at`th, and none afterwards."""

    def __init__(self, store: JobStore, at: int, *, acted: bool) -> None:
        self._store = store
        self._at = at
        self._acted = acted
        self.calls = 0

    @property
    def as_store(self) -> JobStore:
        return cast(JobStore, self)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls > self._at or (self.calls == self._at and not self._acted):
                raise Died
            answer = await method(*args, **kwargs)
            if self.calls == self._at:
                raise Died
            return answer

        return call if callable(method) else method
