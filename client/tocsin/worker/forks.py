"""What a handler forks must not act in this process's name.

A forked child, of multiprocessing, say, has a copy of all that this process has. Left as it is, a signal that ends the
child would be taken by handlers of ours, which tell this process of it; and a child that came back from its handler
would go on as if it were this process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading

_signals: set[int] = set()
_pid = os.getpid()
_here = threading.local()


def keep_signals(*numbers: int) -> None:
    """Forked children do with these signals what a process does by itself, and wake no event loop of this one."""
    _signals.update(numbers)


def run_here() -> None:
    """Handlers run in this process from now on, which may itself have been forked since this was imported."""
    global _pid
    _pid = os.getpid()


def end_if_forked() -> None:
    """In a forked child that comes back from a handler, end it: nothing here is its own to go on with."""
    if os.getpid() != _pid:
        os._exit(0)


def _hold_back() -> None:
    # One that is sent to the child at once, before it has let go, waits until then.
    if _signals:
        _here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _signals)


def _go_on() -> None:
    if (mask := _here.__dict__.pop("mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _let_go() -> None:
    with contextlib.suppress(ValueError):  # of an interpreter that has no signals
        if _signals:
            signal.set_wakeup_fd(-1)
        for number in _signals:
            signal.signal(number, signal.SIG_DFL)
    _go_on()


if hasattr(os, "register_at_fork"):  # not where nothing forks
    os.register_at_fork(before=_hold_back, after_in_parent=_go_on, after_in_child=_let_go)
