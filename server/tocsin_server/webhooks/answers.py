"""What an answer's status means for the job that asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from tocsin_server.domain.http_requests import wait_of
from tocsin_server.webhooks.sending import Answer

ACCEPTED = 202
_RETRY_AFTER = (429, 503)
#: Beside 5xx: the other end had no time, or will have more.
_PASSING = (408, 425, 429)
_SAID_CHARACTERS = 200

#: A 202 leaves the job leased so long, unless the answer says how long in this header, in seconds.
LEASE_HEADER = "tocsin-lease"
DEFAULT_LEASE = timedelta(minutes=15)
LEAST_LEASE, LONGEST_LEASE = timedelta(seconds=5), timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the attempt failed. final: no further one. retry_in: no sooner than so; None: as the job's policy says."""

    message: str
    final: bool = False
    retry_in: timedelta | None = None


def failure(where: str, answer: Answer, now: datetime, secrets: Collection[str]) -> Failure | None:
    """What went wrong, by an answer's status; None for 2xx. `where` may be shown, `secrets` may not."""
    status = answer.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Failure(f"{where} answers {status} and sends us elsewhere: redirects are not followed", final=True)
    said = _said(answer, secrets)
    message = f"{where} answers {status}" + (f": {said}" if said else "")
    if status < 500 and status not in _PASSING:
        return Failure(message, final=True)
    wait = wait_of(answer.headers.get("retry-after"), now) if status in _RETRY_AFTER else None
    return Failure(message, retry_in=wait)


def lease_of(answer: Answer) -> timedelta:
    """How long whoever answered 202 has until it reports, or extends the lease."""
    text = answer.headers.get(LEASE_HEADER, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return DEFAULT_LEASE
    return min(max(timedelta(seconds=int(text)), LEAST_LEASE), LONGEST_LEASE)


def _said(answer: Answer, secrets: Collection[str]) -> str:
    """The beginning of what the answer says, where that is text."""
    kind = answer.headers.get("content-type", "text/plain").partition(";")[0].strip().lower()
    if answer.body is None or not (kind.startswith("text/") or kind.endswith(("json", "xml"))) or kind == "text/html":
        return ""
    text = "".join(c if c.isprintable() else " " for c in answer.body[:4096].decode("utf-8", "replace"))
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:_SAID_CHARACTERS]
