"""An event as a file that calendars take, RFC 5545."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from tocsin_server.messages.mail.body import Attachment
from tocsin_server.version import VERSION

_LINE_BYTES = 75  # RFC 5545, section 3.1; longer ones are folded


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A booking's moment."""

    booking_id: str
    revision: int  # grows with each move
    start: datetime
    title: str
    location: str = ""
    url: str = ""


def calendar_uid(domain: str, queue: str, booking_id: str) -> str:
    """What calendars know an event by: the same for a booking that is moved, so that they move theirs, and another one
    for each other booking, in another queue or of another sender, too: somebody may have bookings of several. `domain`
    is the sender's."""
    of_domain = hashlib.sha256(f"{queue}\n{booking_id}".encode()).hexdigest()
    return f"{of_domain[:32]}@{domain}"


def calendar_file(event: CalendarEvent, uid: str, made: datetime) -> Attachment:
    """The file; `uid` as calendar_uid makes it. Its end is not known, so none is said: calendars show a moment, or
    their own usual length."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:-//Tocsin//{VERSION}//EN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        f"SEQUENCE:{event.revision}",
        f"DTSTAMP:{_utc(made)}",
        f"DTSTART:{_utc(event.start)}",
        f"SUMMARY:{_text(event.title)}",
        *([f"LOCATION:{_text(event.location)}"] if event.location else ()),
        *([f"URL:{event.url}"] if event.url else ()),
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return Attachment("booking.ics", b"".join(map(_folded, lines)), "text/calendar")


def _utc(time: datetime) -> str:
    # Not strftime's %Y, which drops leading zeros.
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z").replace("-", "").replace(":", "")


def _text(said: str) -> str:
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\r\n", "\\n"), ("\n", "\\n"), ("\r", "\\n")):
        said = said.replace(plain, escaped)
    return said


def _folded(line: str) -> bytes:
    """The line with its end, in pieces of 75 bytes at most that cut no character."""
    pieces: list[bytes] = []
    piece = b""
    for character in line:
        raw = character.encode(errors="replace")
        if len(piece) + len(raw) > _LINE_BYTES - bool(pieces):  # later ones begin with a space
            pieces.append(piece)
            piece = b""
        piece += raw
    return b"\r\n ".join([*pieces, piece]) + b"\r\n"
