"""The folder that reports are written to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tocsin_server.messages.private_files import make_folder, write_whole


class ReportFolder:
    """Writes whole files or none. The folder is made with the first report."""

    def __init__(self, folder: Path) -> None:
        # Absolute, so that a change of the working directory does not move it.
        self.folder = folder.absolute()

    def trouble(self) -> str | None:
        """What keeps this user from writing there, as far as can be seen without writing. Callers read it, so that it
        names no path."""
        folder = self.folder
        while not os.path.lexists(folder):  # it is made when it is needed
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            return "it is not a folder that the server's user may write to"
        return None

    def write(self, stem: str, contents: Mapping[str, bytes]) -> list[Path]:
        """Write the files of one report, by their endings; those of the same stem are replaced. OSError.

        Blocks: call it off the event loop.
        """
        make_folder(self.folder)
        return [self._write(f"{stem}.{ending}", content) for ending, content in contents.items()]

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        # The process's own, so that two servers which run the job twice do not write into one.
        write_whole(self.folder / f".{name}.{os.getpid()}.tmp", path, content, to_disk=True)
        return path


def stem(reported: str, queue: str, job_id: str, create_time: datetime) -> str:
    """The name of a job's files, without ending: another attempt of the job replaces them, no other job does.

    `reported` is the queue reported on; queue, job_id and create_time are the job's. An id may hold any letter, a file
    name may not: it goes in as a hash.
    """
    named = "\0".join((queue, job_id, create_time.isoformat()))
    mark = hashlib.sha256(named.encode()).hexdigest()[:12]
    return f"report-{reported}-{create_time.astimezone(UTC):%Y%m%dT%H%M%SZ}-{mark}"
