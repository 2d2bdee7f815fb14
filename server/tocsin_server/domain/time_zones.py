"""Time zones by their IANA names."""

from __future__ import annotations

from zoneinfo import ZoneInfo

# In the same folder as the zones, but none: what this machine is set to, or zones that count leap seconds.
_NO_NAMES = frozenset({"localtime", "posixrules", "Factory"})
_NO_FOLDERS = ("posix/", "right/")


class UnknownZone(ValueError):
    """There is no zone of that name."""


def zone_of(name: str) -> ZoneInfo:
    """The zone of a name such as "Europe/Berlin"; empty is UTC. UnknownZone where there is none."""
    if name in _NO_NAMES or name.startswith(_NO_FOLDERS):
        raise UnknownZone(name)
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, OSError, ValueError):  # unknown; a folder of zones; a path, or a file that is no zone
        raise UnknownZone(name) from None
