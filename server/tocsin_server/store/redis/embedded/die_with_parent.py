"""Runs one program that must not outlive the process that wanted it, however that one ends.

A program of its own, started as `python -I -S die_with_parent.py WAY PARENT COMMAND...`, importing nothing of Tocsin:

die    (Linux) asks the kernel for a SIGTERM when the parent goes, and becomes the command. Costs nothing afterwards.
       The kernel watches the parent's *thread*, so the parent must start this from a thread that lives as long as it.
watch  (elsewhere) stays, as the command's parent, and ends it once its own standard input is closed, which happens when
       the process that holds the other end is gone, kill -9 included.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1


def die_with(parent: int, command: list[str]) -> None:
    """Become the command, which gets SIGTERM when the parent's thread ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:  # it went before the kernel was asked
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def watch(command: list[str]) -> int:
    """Run the command until it ends, or until standard input is closed; its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False)  # noqa: S603 - our own arguments
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())

    def end_when_alone() -> None:
        while os.read(0, 4096):
            pass
        child.terminate()

    threading.Thread(target=end_when_alone, daemon=True).start()
    return child.wait()


def main(way: str, parent: int, command: list[str]) -> int:
    """Run the command in one of the two ways."""
    if way == "die":
        die_with(parent, command)
    return watch(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
