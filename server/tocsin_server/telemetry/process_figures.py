"""What this process takes of its machine, under the names that Prometheus' own clients use."""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tocsin_server.telemetry.instruments import Family

_CPU = Family("process_cpu_seconds_total", "counter", "Processor time of this process, in user and system mode.")
_MEMORY = Family("process_resident_memory_bytes", "gauge", "Memory of this process that is not swapped out.")
_START = Family("process_start_time_seconds", "gauge", "When this process began to count, in Unix time.")
_OPEN_FDS = Family("process_open_fds", "gauge", "File descriptors that are open.")
_MAX_FDS = Family("process_max_fds", "gauge", "File descriptors that may be open.")

_STARTED = time.time()
_STATM, _FDS = Path("/proc/self/statm"), Path("/proc/self/fd")


def lines() -> Iterator[str]:
    """All of them, read now; those that are read from /proc are left out where there is none."""
    yield from _CPU.lines([((), round(time.process_time(), 3))])
    yield from _START.lines([((), round(_STARTED, 3))])
    if sys.platform != "win32":
        import resource

        yield from _MAX_FDS.lines([((), resource.getrlimit(resource.RLIMIT_NOFILE)[0])])
    try:
        pages, descriptors = int(_STATM.read_text().split()[1]), len(os.listdir(_FDS))
    except OSError:
        return
    yield from _MEMORY.lines([((), pages * mmap.PAGESIZE)])
    yield from _OPEN_FDS.lines([((), descriptors)])
