"""What is made of secrets in files, made anew when those have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from pydantic import SecretStr

from tocsin_server.messages.errors import MessageSettingsError
from tocsin_server.settings import FileSecret

T = TypeVar("T")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin.server")


class Renewed(Generic[T]):
    """Something that `make` makes of `secrets`. MessageSettingsError from the constructor, as `make` raises it."""

    def __init__(self, make: Callable[[], T], *secrets: SecretStr | None) -> None:
        self._make = make
        self._in_files = [secret for secret in secrets if isinstance(secret, FileSecret)]
        self._values = self._now()
        self._made = make()

    def get(self) -> T:
        """What is made of the secrets as they are. Where nothing can be, what was made last; the log says so once."""
        if self._in_files and (values := self._now()) != self._values:
            self._values = values
            try:
                self._made = self._make()
            except MessageSettingsError as error:
                _log.warning("a secret was changed and cannot be used; the one before it holds", error=str(error))
        return self._made

    def _now(self) -> Sequence[str]:
        return [secret.get_secret_value() for secret in self._in_files]
