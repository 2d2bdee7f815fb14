"""How a program that uses a client goes through a fork.

gRPC's asyncio stack has one poller thread for a process, and core threads besides. A child has none of them: what it
calls waits for ever, or is killed by gRPC's own checks. So before a fork every client at rest gives back all that it
holds of gRPC; it opens anew with its next call, in the parent as in the child. Where that cannot be (a call under way,
other code that uses grpc.aio, a program that forks without Python's hooks, as uWSGI does, while a client is open), the
clients of the child refuse each call at once.
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from tocsin.errors import UnusableClient

#: Names of the gRPC core's threads, as Linux shows them.
_CORE_THREADS = ("event_engine", "grpc_", "lifeguard")
_LONGEST_SETTLING = 3.0  # seconds, before a fork: on a busy machine the core's threads take over one to end


class Guest(Protocol):
    """What holds something of gRPC, and can give it back."""

    def rest(self) -> None:
        """Give it back, if no call is under way."""


class _State:
    """Of this process."""

    def __init__(self) -> None:
        #: Held while calls of blocking clients are counted, and during a fork.
        self.lock = threading.RLock()
        self.guests: WeakSet[Guest] = WeakSet()
        #: Open channels, each with the process that opened it. Those of a parent stay for ever: to free them would be
        #: to wait for the poller thread that is not here.
        self.channels: dict[int, tuple[int, object]] = {}
        self.keys = itertools.count()
        self.used = False  # and gRPC has not been seen at rest since
        self.forked_in_use = False  # of the fork under way; then, in a child, for good


_state = _State()


def counting() -> threading.RLock:
    """The lock under which a call begins and ends: none begins during a fork."""
    return _state.lock


def rests_at_fork(guest: Guest) -> None:
    """From now on `guest` is asked to rest before each fork."""
    _state.guests.add(guest)


def opened(channel: object) -> int:
    """An asyncio channel has been opened. The key is for `gone`."""
    key = next(_state.keys)
    _state.channels[key] = (os.getpid(), channel)
    _state.used = True
    return key


def gone(key: int) -> None:
    """This channel is not used any more. In a child its parent's stay."""
    owner, _ = _state.channels.get(key, (None, None))
    if owner == os.getpid():
        del _state.channels[key]


def settle(longest: float = 0.1) -> None:
    """Wait until gRPC's core has ended its threads, which it does by itself a moment after its last use.

    Where other code uses gRPC it does not: then for `longest` seconds at most.
    """
    end = time.monotonic() + longest
    while _state.used and not _state.channels and not _poller_runs():
        _state.used = _core_runs()
        if time.monotonic() > end:
            return
        if _state.used:
            time.sleep(0.001)


def check() -> None:
    """Raises UnusableClient in a process that was forked while gRPC was in use."""
    here = os.getpid()
    if _state.forked_in_use or any(owner != here for owner, _ in list(_state.channels.values())):
        raise UnusableClient(
            "this process was forked while its parent used gRPC, which does not work here any more: close the parent's "
            "clients and end its watches and lists before the fork, or start the process without a fork "
            '(multiprocessing: set_start_method("spawn" or "forkserver"))'
        )


def _before() -> None:
    _state.lock.acquire()
    for guest in list(_state.guests):
        with suppress(Exception):  # a fork never fails for us; the child will refuse
            guest.rest()
    if _state.used and not _state.channels and _poller_runs():
        gc.collect()  # an error that somebody kept may hold a call in its traceback
    settle(_LONGEST_SETTLING)
    if not _state.channels:
        _state.used = False  # what core threads are left are others': no later fork waits for them
    _state.forked_in_use = _poller_runs() or _core_runs()


def _after_in_parent() -> None:
    _state.forked_in_use = False
    _state.lock.release()


def _after_in_child() -> None:
    _state.lock = threading.RLock()  # another thread may have held it, where `_before` was not called


def _core_runs() -> bool:
    """Whether gRPC's core has threads; unknown where the system does not show them."""
    for task in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            if task.read_text().startswith(_CORE_THREADS):
                return True
    return False


def _poller_runs() -> bool:
    """Whether gRPC's asyncio stack is up, for us or for others: its thread is there exactly as long."""
    return any(thread.name.endswith("(_poll_wrapper)") for thread in threading.enumerate())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
