"""How much memory this process's control group, or the machine, has."""

from __future__ import annotations

import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_NONE = 1 << 60  # version 1 says "no limit" by a number near 2^63


def memory_limit() -> int | None:
    """Bytes: the smallest limit of the process's control groups and the machine's memory. None where nobody says."""
    limits = [limit for file in _files() if (limit := _number(file)) is not None]
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        pass
    return min((limit for limit in limits if 0 < limit < _NONE), default=None)


def _files() -> list[Path]:
    """Version 2: the process's group and all above it. Version 1: where a container sees its own."""
    files = [_GROUPS / "memory/memory.limit_in_bytes", _GROUPS / "memory.max"]
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return files
    for path in (line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::/")):
        group = _GROUPS / path
        files += [above / "memory.max" for above in (group, *group.parents) if above.is_relative_to(_GROUPS)]
    return files


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None
