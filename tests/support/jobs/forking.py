"""Handlers that start processes in every way."""

from __future__ import annotations

import multiprocessing
import os
import time

from tocsin import Handlers, JobContext

handlers = Handlers()
_FORK = multiprocessing.get_context("fork")


def _pool() -> list[int]:
    with _FORK.Pool(2) as pool:  # its end sends its processes SIGTERM
        return pool.map(abs, [-1, -2])


def _terminated() -> int | None:
    child = _FORK.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return child.exitcode


def _forked() -> int:
    """A child that goes on as if it were its parent."""
    child = os.fork()
    if child == 0:
        return 0
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _forked_and_raised() -> int:
    child = os.fork()
    if child == 0:
        raise SystemExit(3)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


_WAYS = {"pool": _pool, "terminated": _terminated, "forked": _forked, "forked_and_raised": _forked_and_raised}


@handlers.on("thread")
def thread(job: JobContext) -> object:
    """In a thread."""
    return _WAYS[job.data["way"]]()


@handlers.on("loop")
async def loop(job: JobContext) -> object:
    """On an event loop, which it blocks meanwhile."""
    return _WAYS[job.data["way"]]()


@handlers.on("process", process=True)
def process(job: JobContext) -> object:
    """In a process of its own."""
    return _WAYS[job.data["way"]]()
