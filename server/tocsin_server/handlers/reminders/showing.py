"""Times as people read them, in the zone of those who read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tocsin_server.domain.time_zones import zone_of
from tocsin_server.domain.words import counted

# Not strftime's: what that says hangs on a locale, which any handler in the process may set.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


#: Beyond these a date says more.
_MOST_HOURS, _MOST_DAYS = 12, 14
_NEAR = {-1: "yesterday", 0: "today", 1: "tomorrow"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in a zone, ready to be shown; templates take its parts."""

    local: datetime  # aware
    date: str  # Thursday, 24 December 2026
    short_date: str  # Thu 24 Dec 2026
    time: str  # 18:00
    zone: str  # CET; UTC+05:45 where the zone has no letters of its own
    zone_name: str  # Europe/Berlin
    relative: str  # seen from when it is sent: in 15 minutes, today, tomorrow, in 7 days, yesterday; "" when far off

    @property
    def iso(self) -> str:
        """2026-12-24T18:00:00+01:00"""
        return self.local.isoformat(timespec="seconds")


def moment(time: datetime, zone_name: str, now: datetime) -> Moment:
    """A time as it is shown in a zone ("": UTC) at `now`. UnknownZone where there is no such zone."""
    zone = zone_of(zone_name)
    try:
        local = time.astimezone(zone)
    except OverflowError:  # the last hours of the year 9999, east of Greenwich
        local, zone_name = time.astimezone(UTC), ""
    day, month = _DAYS[local.weekday()], _MONTHS[local.month - 1]
    return Moment(
        local=local,
        date=f"{day}, {local.day} {month} {local.year}",
        short_date=f"{day[:3]} {local.day} {month[:3]} {local.year}",
        time=f"{local.hour:02}:{local.minute:02}",
        zone=_letters(local),
        zone_name=zone_name or "UTC",
        relative=_relative(local, now.astimezone(local.tzinfo)),
    )


def _relative(local: datetime, now: datetime) -> str:
    # Up to the minute: what is sent an hour before is on its way for a moment, and says "in 1 hour" all the same.
    minutes = -((now - local) // timedelta(minutes=1))
    if 0 < minutes < 60:
        return f"in {counted(minutes, 'minute')}"
    if 0 < minutes <= _MOST_HOURS * 60 and minutes % 60 == 0:
        return f"in {counted(minutes // 60, 'hour')}"
    days = (local.date() - now.date()).days
    if abs(days) > _MOST_DAYS:
        return ""
    if days in _NEAR:
        return _NEAR[days]
    return f"in {days} days" if days > 0 else f"{-days} days ago"


def _letters(local: datetime) -> str:
    name = local.tzname() or ""
    if name.isalpha():
        return name
    minutes = round((local.utcoffset() or UTC.utcoffset(None)).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}"
