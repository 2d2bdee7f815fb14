"""How single values are written for people: texts of others, states, times, spans, numbers."""

from __future__ import annotations

from datetime import datetime, timedelta

from rich.text import Text

from tocsin.enums import OnFull, State
from tocsin.jobs import Job
from tocsin.limits import Limit, Rate

_STATE_STYLES = {
    State.COMPLETED: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "dim",
    State.ACTIVE: "cyan",
    State.SCHEDULED: "blue",
}
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
_SECOND = timedelta(seconds=1)


def shown(text: str) -> str:
    """Text of others that may have several lines, with what could steer a terminal made visible."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """The same on one line: a line break in it is made visible, too, so that it cannot look like a line of ours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def styled(text: str) -> Text:
    """One line of others."""
    return Text(one_line(text))


def state_text(state: State) -> Text:
    """A state in its colour."""
    return Text(str(state), _STATE_STYLES.get(state, ""))


def time_text(time: datetime | None) -> str:
    """A moment in UTC as RFC 3339 has it, to the millisecond; "" for none."""
    return "" if time is None else f"{time.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def from_now(time: datetime | None, now: datetime) -> str:
    """A moment as people say it: "in 3 s", "2 m ago", "now"; "" for none."""
    if time is None:
        return ""
    away = time - now
    if abs(away) < _SECOND:
        return "now"
    span = _about(abs(away))
    return f"in {span}" if away > timedelta(0) else f"{span} ago"


def _about(span: timedelta) -> str:
    """The largest unit alone, rounded down: "59 s", "23 h", "400 d"."""
    seconds = int(span.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def typed_span(span: timedelta) -> str:
    """A span as it would be typed: "1h30m", "0s"."""
    left, parts = round(span / timedelta(milliseconds=1)), []
    for unit, ms in _UNITS:
        count, left = divmod(left, ms)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def ageing_text(step: timedelta) -> str:
    """How jobs of a queue gain priority: "one priority gained in each 10m of waiting"."""
    return f"one priority gained in each {typed_span(step)} of waiting"


def seconds_text(span: timedelta | None) -> str:
    """A measured span: "0.120 s"; "" for none."""
    return "" if span is None else f"{span.total_seconds():.3f} s"


def counted(count: int, one: str, many: str = "") -> str:
    """ "1 job", "2 jobs", "1,000 jobs"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def rate_text(rate: Rate | None) -> str:
    """How fast jobs of a limit begin: "100/1m"; "" for as fast as may be."""
    if rate is None:
        return ""
    per = rate.per if isinstance(rate.per, timedelta) else timedelta(seconds=rate.per)
    burst = f" burst {rate.burst}" if rate.burst > 1 else ""
    return f"{rate.jobs}/{typed_span(per)}{burst}"


def limit_text(limit: Limit) -> str:
    """A limit in a few words."""
    parts = [f"by {limit.scope.lower()}" + (f" {limit.type}" if limit.type else "")]
    if limit.max_active is not None:
        parts.append(f"{limit.max_active} at once")
    if limit.rate is not None:
        parts.append(rate_text(limit.rate))
    if limit.on_full != OnFull.WAIT:
        parts.append(f"{limit.on_full} when full")
    return ", ".join(parts)


def attempts_text(job: Job) -> str:
    """How often it was tried: "3 (3 failed)"."""
    extra = [f"{job.failures} failed"] if job.failures else []
    extra += [f"{job.crashes} crashed"] if job.crashes else []
    return f"{job.attempt}" + (f" ({', '.join(extra)})" if extra else "")
