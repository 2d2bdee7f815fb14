"""Templates, and how single values are written in them. Times are in UTC; the page's script makes them local."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from tocsin.v1 import job_pb2

STATES = ("SCHEDULED", "BLOCKED", "WAITING", "ACTIVE", "COMPLETED", "FAILED", "CANCELLED")

#: Characters of a payload or a result that are shown.
_MOST_SHOWN = 64 << 10
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class StaticFiles:
    """The page's script, style and htmx, in memory; each has an address that changes with it."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self._marks: dict[str, str] = {}
        for one in files("tocsin_server.web").joinpath("static").iterdir():
            ending = f".{one.name.rpartition('.')[2]}"
            if ending in _TYPES:
                content = one.read_bytes()
                self._files[one.name] = content, _TYPES[ending]
                self._marks[one.name] = sha256(content).hexdigest()[:12]

    def get(self, name: str) -> tuple[bytes, str] | None:
        """What is in it, and of which type that is."""
        return self._files.get(name)

    def address(self, name: str) -> str:
        """Below the dashboard's path."""
        return f"/static/{name}?v={self._marks[name]}"


class PageTemplates:
    """The templates of the dashboard, below `root_path`."""

    def __init__(self, root_path: str, static: StaticFiles) -> None:
        self._root = root_path
        self._environment = Environment(
            loader=PackageLoader("tocsin_server.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            url=self.url, static=lambda name: root_path + static.address(name), states=STATES
        )
        self._environment.filters.update(
            when=when,
            span=span,
            number=number,
            state=state_name,
            reason=reason_name,
            shown=shown_value,
            payload=payload_of,
            result=result_of,
            rate=rate,
            utc=utc,
        )

    def url(self, path: str, **query: object) -> str:
        """An address of the dashboard. What is None or "" is left out of the query."""
        pairs = [
            (name, str(one))
            for name, value in query.items()
            for one in (value if isinstance(value, (list, tuple)) else [value])
            if one is not None and one != ""
        ]
        return f"{self._root}{path}{'?' if pairs else ''}{urlencode(pairs)}"

    def render(self, name: str, context: Mapping[str, Any]) -> str:
        """The page."""
        return self._environment.get_template(name).render(context)


def is_set(time: Timestamp | Duration) -> bool:
    """Whether it says anything."""
    return bool(time.seconds or time.nanos)


def iso(time: Timestamp | datetime) -> str:
    """In UTC, to the second; "" for none."""
    if isinstance(time, Timestamp):
        if not is_set(time):
            return ""
        time = time.ToDatetime(tzinfo=UTC)
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def utc(time: Timestamp | datetime) -> str:
    """In UTC, as people read it."""
    return iso(time)[:19].replace("T", " ")


def when(time: Timestamp | datetime, form: str = "ago") -> Markup:
    """A moment, as the page's script shows it: "ago" how far it is from now, "local" in the browser's zone. Without the
    script in UTC."""
    if not (text := iso(time)):
        return Markup('<span class="none">–</span>')
    plain = text[:19].replace("T", " ")
    return Markup('<time datetime="{}" data-form="{}" title="{} UTC">{} UTC</time>').format(text, form, plain, plain)


def span(value: Duration | float) -> str:
    """A span of time as people say it."""
    seconds = value.ToTimedelta().total_seconds() if isinstance(value, Duration) else value
    if abs(seconds) < 1:
        return "0 s" if not seconds else f"{seconds * 1000:.0f} ms"
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    for at, (unit, size) in enumerate(_UNITS):
        if abs(seconds) >= size:
            whole, rest = divmod(round(abs(seconds)), size)
            sign = "-" if seconds < 0 else ""
            further = _UNITS[at + 1] if at + 1 < len(_UNITS) else None
            if further and whole < 10 and (part := rest // further[1]):
                return f"{sign}{whole} {unit} {part} {further[0]}"
            return f"{sign}{whole} {unit}"
    return f"{seconds:.0f} s"


def number(value: int) -> str:
    """With commas."""
    return f"{value:,}"


def rate(value: float) -> str:
    """So many a second."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 or not value else f"{value:.2f}"


def state_name(state: int) -> str:
    """A state's name, or its number where this version does not know it."""
    try:
        return job_pb2.Job.State.Name(state)  # type: ignore[arg-type]
    except ValueError:
        return str(state)


def reason_name(reason: int) -> str:
    """The same of the reason why a job is not running."""
    try:
        return job_pb2.Explanation.Reason.Name(reason)  # type: ignore[arg-type]
    except ValueError:
        return str(reason)


def payload_of(spec: job_pb2.JobSpec) -> str:
    """A payload as text; "" for none, also where it is not shown to who asked."""
    kind = spec.WhichOneof("payload")
    return "" if kind is None else shown_value(getattr(spec, kind))


def result_of(result: job_pb2.Result) -> str:
    """What a job returned, as text."""
    kind = result.WhichOneof("value")
    return "" if kind is None else shown_value(getattr(result, kind))


def _whole(value: Any) -> Any:
    """The same, with whole numbers as they were written: a Struct has doubles alone."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


def shown_value(value: Any) -> str:
    """A message as indented JSON, and bytes as text where they are."""
    if hasattr(value, "content_type"):
        try:
            text = value.body.decode()
        except UnicodeDecodeError:
            text = f"{len(value.body):,} bytes: {value.body[:512].hex(' ')}"
    else:
        found = _whole(MessageToDict(value, preserving_proto_field_name=True))
        text = json.dumps(found, indent=2, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}\n… {len(text) - _MOST_SHOWN:,} more characters"
