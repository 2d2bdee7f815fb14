"""Ends programs that their worker left behind, kill -9 included.

A program of its own, started as `python -I -S program_guard.py`, importing nothing of Tocsin. On standard input it is
told of process groups, "+NUMBER" as one begins and "-NUMBER" when it has ended. Once that is closed, which happens when
the process that holds the other end is gone, it ends those that are left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

#: Seconds between SIGTERM and SIGKILL.
GRACE = 2.0


def main() -> None:
    """Wait for the worker's end."""
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin.buffer:
        sign, number = line[:1], line[1:]
        (groups.add if sign == b"+" else groups.discard)(int(number))
    for stop in (signal.SIGTERM, signal.SIGKILL):
        groups = {group for group in groups if _signalled(group, stop)}
        until = time.monotonic() + GRACE
        while groups and stop is signal.SIGTERM and time.monotonic() < until:
            time.sleep(0.05)
            groups = {group for group in groups if _signalled(group, 0)}


def _signalled(group: int, number: int) -> bool:
    """Whether anything of the group is left to be signalled."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
