"""What people type into fields: tags, times, spans of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from tocsin_server.settings import duration


class WrongFilter(Exception):
    """A field of the filter cannot be read. The message says how it is written."""


def tags_of(text: str) -> dict[str, str]:
    """ "city=Bern, vip=yes" as a table. WrongFilter."""
    found = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise WrongFilter(f"write a tag as key=value, not {part!r}")
        found[key.strip()] = value.strip()
    return found


def moment(text: str, *, ahead: bool = False) -> Timestamp:
    """ "2h" is two hours ago, or `ahead` of now; else a time, as 2030-12-24T18:00 in UTC or with its zone. Raises
    WrongFilter."""
    found, away = Timestamp(), span_of(text)
    try:
        if away is not None:
            time = datetime.now(UTC) + (away if ahead else -away)
        else:
            time = datetime.fromisoformat(text)
        found.FromDatetime(time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))
    except OverflowError:
        raise WrongFilter(f"{text!r} is too far away") from None
    except ValueError:
        raise WrongFilter(f"write a time as 2h, or as 2030-12-24T18:00Z, not {text!r}") from None
    return found


def span_of(text: str) -> timedelta | None:
    """ "10m" as a span of time; None: it is none."""
    try:
        return duration(text)
    except ValueError:
        return None
