"""What happens to jobs, as `tocsin dev` shows it: a line each, with the trace of what failed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import typer
from tocsin.cli.texts import shown

from tocsin_server.telemetry.job_log import LOGGER

#: For each event: its mark, colour, and what follows the job's name.
_LINES: Mapping[str, tuple[str, str, Callable[[Mapping[str, Any]], str]]] = {
    "job_scheduled": ("+", "blue", lambda e: "scheduled" + (f", due {_clock(e['due'])}" if e["due"] else "")),
    "attempt_started": (">", "cyan", lambda e: "started" + (f", attempt {e['attempt']}" if e["attempt"] > 1 else "")),
    "attempt_progress": ("%", "cyan", lambda e: f"{e['fraction']:.0%} {e['progress_message']}".rstrip()),
    "job_completed": ("✓", "green", lambda e: f"COMPLETED in {_span(e['seconds'])}"),
    "attempt_failed": ("!", "yellow", lambda e: f"failed in {_span(e['seconds'])}: {_error(e)}; {e['next']}"),
    "attempt_crashed": ("!", "red", lambda e: f"crashed: {_error(e)}; {e['next']}"),
    "attempt_lost": ("!", "red", lambda e: f"lost its lease; {e['next']}"),
    "attempt_given_back": ("<", "yellow", lambda e: f"given back ({e['reason'] or 'unfinished'}), it runs again"),
    "cancel_asked": ("x", "magenta", lambda e: "is asked to stop" + _reason(e)),
    "job_cancelled": ("x", "magenta", lambda e: "CANCELLED" + _reason(e)),
    "job_failed": ("✗", "red", lambda e: "FAILED; to run it again: " + _retry_command(e)),
}


class JobScreen(logging.Handler):
    """Prints job events on standard output, coloured on a terminal. Unlike the log it shows messages and traces: this
    is a developer's own machine."""

    @classmethod
    def open(cls) -> JobScreen:
        """Show all job events from here on, instead of logging them."""
        logger = logging.getLogger(LOGGER)
        screen = cls()
        logger.addHandler(screen)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        return screen

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        event = record.msg
        if not isinstance(event, dict) or event.get("event") not in _LINES:
            return
        try:
            self._print(event)
        except Exception:
            self.handleError(record)

    def _print(self, event: Mapping[str, Any]) -> None:
        mark, colour, words = _LINES[event["event"]]
        time = datetime.now().astimezone().strftime("%H:%M:%S")
        where = event["type"] if event["queue"] == "default" else f"{event['queue']}/{event['type']}"
        head = typer.style(f"{time} ", dim=True) + typer.style(mark, fg=colour, bold=True)
        name = f"{shown(where)} {typer.style(shown(event['job_id']), dim=True)}"
        typer.echo(f"{head} {name} {typer.style(shown(words(event)), fg=colour)}")
        for line in str(event.get("error_trace", "")).splitlines():
            typer.echo(typer.style(f"           {shown(line)}", dim=True))


def _error(event: Mapping[str, Any]) -> str:
    message = " ".join(str(event["error_message"]).split())
    most = max(40, shutil.get_terminal_size().columns)
    return f"{event['error']}: {message}"[:most] if message else str(event["error"])


def _reason(event: Mapping[str, Any]) -> str:
    return f": {event['cancel_reason']}" if event.get("cancel_reason") else ""


def _retry_command(event: Mapping[str, Any]) -> str:
    queue = "" if event["queue"] == "default" else f" --queue {event['queue']}"
    return f"tocsin jobs retry {event['job_id']}{queue}"


def _clock(iso: str) -> str:
    due = datetime.fromisoformat(iso).astimezone()
    now = datetime.now().astimezone()
    if 0 <= (due - now).total_seconds() < 60:
        return f"in {(due - now).total_seconds():.1f} s"
    return f"at {due:%H:%M:%S}" if due.date() == now.date() else f"on {due:%Y-%m-%d at %H:%M:%S}"


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
