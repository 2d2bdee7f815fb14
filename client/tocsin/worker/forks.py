"""What a handler forks must not act in this process's name.

A forked child, of multiprocessing, say, has a copy of all that this process has. Left as it is, a signal that ends the
child would be taken by handlers of ours, which tell this process of it; the port we serve at would be taken as long as
the child lives, and answered by nobody; and a child that came back from its handler would go on as if it were we.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

_signals: set[int] = set()
_ports: set[int] = set()
_pid = os.getpid()


def keep_signals(*numbers: int) -> None:
    """Forked children do with these signals what a process does by itself, and wake no event loop of this one."""
    _signals.update(numbers)


def keep_port(port: int) -> None:
    """Forked children have no part in what this process serves at a TCP port."""
    _ports.add(port)


def end_if_forked() -> None:
    """In a forked child that comes back from a handler, end it: nothing here is its own to go on with."""
    if os.getpid() != _pid:
        os._exit(0)


def _let_go() -> None:
    with contextlib.suppress(ValueError):  # of an interpreter that has no signals
        if _signals:
            signal.set_wakeup_fd(-1)
        for number in _signals:
            signal.signal(number, signal.SIG_DFL)
    if _ports:
        for name in os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"):
            with contextlib.suppress(OSError):
                _close_ours(int(name))


def _close_ours(fd: int) -> None:
    found = socket.socket(fileno=fd)  # raises where it is none
    with contextlib.suppress(OSError):
        if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] in _ports:
            # Another file in its place: gRPC's copy here does not know that it is closed.
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, fd, inheritable=False)
            os.close(nothing)
    found.detach()


if hasattr(os, "register_at_fork"):  # not where nothing forks
    os.register_at_fork(after_in_child=_let_go)
