"""Files that the server's user alone may read: mails, text messages and reports are nobody else's business."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

from tocsin_server.messages.errors import MessageSettingsError

# O_NOFOLLOW and O_EXCL: whoever else may write to the folder cannot have another file written to by a link in it.
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


def folder_of(rest: str, setting: str) -> Path:
    """The folder that a file: URL names; `rest` follows the colon. MessageSettingsError, with the name of `setting`."""
    if rest.startswith("//") and not rest.startswith("///"):
        raise MessageSettingsError(f"{setting}: write file:FOLDER or file:///FOLDER; file://FOLDER names a host")
    folder = unquote(rest.removeprefix("//"))
    if not folder or "\0" in folder:
        raise MessageSettingsError(f"{setting}: file: must be followed by a folder")
    return Path(folder)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, where it is missing. One that is there keeps its mode. OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_whole(unfinished: Path, path: Path, content: bytes, *, to_disk: bool = False) -> None:
    """Write a file that is there whole or not at all, by way of `unfinished`, which only this call uses. OSError.

    to_disk: a file that has its name is whole also after a power cut.
    """
    unfinished.unlink(missing_ok=True)  # of a process that died
    try:
        with os.fdopen(os.open(unfinished, _NEW, 0o600), "wb") as file:
            file.write(content)
            if to_disk:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
