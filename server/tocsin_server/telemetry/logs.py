"""The server's log: lines on standard error, for people or as JSON, without secrets and without payloads.

Everything goes through the standard library's root logger, so that what libraries and handlers log (logger names
"tocsin.worker", "grpc", "redis", ...) has the same form and passes the same redaction. Lines are written by a thread of
their own (log_writer.py): nobody waits for whoever reads them.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from tocsin_server.telemetry.log_writer import LogWriter
from tocsin_server.telemetry.redaction import HIDDEN, Secrets

_SECRET_NAME = re.compile(r"password|passwd|secret|token|authorization|credential|api_?key", re.IGNORECASE)

#: Libraries that log each address they call, whose path and query may hold a secret that looks like any other word; and
#: gRPC's, which at debug says before each call on which loop it runs.
_TALKATIVE = ("httpx2", "httpcore2", "grpc._cython.cygrpc")

#: Fields that hold what users' code said, which may hold what payloads hold.
_TEXTS = ("error_message", "error_trace", "progress_message", "cancel_reason")


def configure_logs(
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["auto", "console", "json"] = "auto",
    *,
    secrets: Collection[str] | Secrets = (),
    texts: bool = False,
    running_job: Callable[[], Mapping[str, Any]] = dict,
    stream: TextIO | None = None,
    auto: Processor | None = None,
) -> None:
    """Send all logs of this process to `stream` (standard error). `secrets` are hidden wherever they turn up.

    auto: renders them where `style` is "auto". texts: write messages and traces of jobs' errors, and what handlers say
    of progress. running_job: names the job whose handler runs where something is logged; its names stand in the line.
    """
    target = sys.stderr if stream is None else stream
    # A handler's own logger calls come from its thread or loop: nothing here may need to know which.
    before: list[Processor] = [
        _with_running_job(running_job),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # as text, so that it is redacted, too; never with local variables
    ]
    handler: logging.Handler = LogWriter() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*before[:4], structlog.stdlib.ExtraAdder(), *before[5:]],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if texts else [_without_texts]),
                redaction(secrets),
                auto if auto is not None and style == "auto" else _renderer(style, target),
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # where a line cannot be written (a closed stream), what wanted to log it goes on
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made before this call must follow it
    )


def _with_running_job(running_job: Callable[[], Mapping[str, Any]]) -> Processor:
    def name_it(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in running_job().items():
            event.setdefault(name, value)
        return event

    return name_it


def _without_texts(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _TEXTS:
        event.pop(name, None)
    return event


def redaction(secrets: Collection[str] | Secrets = ()) -> Processor:
    """A processor that hides passwords of addresses, values whose name speaks of a secret, and `secrets` themselves."""
    known = secrets if isinstance(secrets, Secrets) else Secrets(secrets)

    def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for name, value in event.items():
            event[name] = _redacted(name, value, known.hide)
        return event

    return redact


def _redacted(name: str, value: Any, hide: Callable[[str], str]) -> Any:
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), part, hide) for key, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(name, part, hide) for part in value]
    return hide(str(value))


def _renderer(style: str, stream: TextIO) -> Processor:
    terminal = stream.isatty()
    if style == "json" or (style == "auto" and not terminal):
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
