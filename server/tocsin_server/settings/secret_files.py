"""Secrets that stand in files, as Docker and Kubernetes mount them: named by NAME_FILE instead of NAME.

Such a secret is in no environment and on no command line, and it can be changed while the server runs: it is read anew
where it is used, which is where a connection is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr

SUFFIX = "_FILE"
_MOST_BYTES = 64 << 10


class UnreadableSecret(ValueError):
    """A file with a secret cannot be read, or has none in it. One line, without the secret."""


def read_secret(path: Path) -> str:
    """What stands in the file, without the line break at its end. UnreadableSecret."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableSecret(f"{path} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise UnreadableSecret(f"{path} has more than {_MOST_BYTES:,} bytes: is it the right file?")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise UnreadableSecret(f"{path} is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UnreadableSecret(f"{path} is empty")
    return text


class FileSecret(SecretStr):
    """A secret in a file. Its value is what stands there now; where that cannot be read, what stood there last."""

    #: Told each new value, so that logs hide it.
    on_change: ClassVar[Callable[[str], None] | None] = None

    def __init__(self, path: Path) -> None:
        """UnreadableSecret."""
        super().__init__(read_secret(path))
        self.path = path

    def get_secret_value(self) -> str:
        try:
            text = read_secret(self.path)
        except UnreadableSecret:
            return self._secret_value
        if text != self._secret_value:
            self._secret_value = text
            if FileSecret.on_change is not None:
                FileSecret.on_change(text)
        return text


@dataclass(frozen=True, slots=True)
class SecretPath:
    """Where a secret stands that was not read yet. `by_name`: several, which go by names."""

    path: Path
    by_name: bool = False

    def read(self) -> FileSecret | str:
        """The secret; several as their text, once and for all. UnreadableSecret."""
        return read_secret(self.path) if self.by_name else FileSecret(self.path)
