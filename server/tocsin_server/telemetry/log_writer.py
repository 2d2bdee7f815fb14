"""Writes the log in a thread of its own, so that nothing in the server ever waits for whoever reads it."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading

from tocsin_server.domain.words import counted

#: Lines that wait to be written. At a usual length of 300 bytes they take some MiB; what does not fit is dropped.
_MOST_WAITING = 10_000

#: Seconds that the end of the process waits for the last lines; a pipe that nobody reads takes none.
_LAST_LINES = 2.0


class LogWriter(logging.Handler):
    """Lines to standard error. Formatted where they are logged, written by a thread.

    A pipe that nobody reads, a full disk, or a handler of jobs that closes `sys.stderr` stops no loop and no thread:
    lines that find no room are dropped, and how many is said once there is room again. After a fork, where that thread
    is missing, the child writes its lines itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._fd = os.dup(sys.stderr.fileno())  # its own: jobs' code may close sys.stderr
        os.set_inheritable(self._fd, False)
        self._lines: queue.Queue[str] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write_on, name="tocsin-log", daemon=True)
        self._thread.start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Format it here, where its context is known, and have it written."""
        try:
            line = self.format(record)
        except Exception as error:  # what cannot be formatted must not end who logs it
            line = f"a line of the logger {record.name!r} cannot be formatted: {type(error).__name__}"
        if os.getpid() != self._pid:
            self._write(line)
            return
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until what was logged before is written, but not for long."""
        if os.getpid() == self._pid:
            with self._lines.all_tasks_done:
                self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, _LAST_LINES)

    def _write_on(self) -> None:
        while True:
            line = self._lines.get()
            self._write(line)
            self._lines.task_done()
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                lines = counted(dropped, "line of the log was", "lines of the log were")
                self._write(f"{lines} dropped: nobody read them in time")

    def _write(self, line: str) -> None:
        rest = memoryview((line + "\n").encode("utf-8", "replace"))
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:  # a full disk, a reader who left: the next line may find it mended
            self._dropped += 1
