"""The server's log as `tocsin dev` shows it: a line a record, of the form that its lines about jobs have."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any

import typer
from tocsin.cli.texts import one_line, shown

#: For each level: its mark and colour.
_MARKS = {"debug": ("·", "white"), "info": ("·", "cyan"), "warning": ("!", "yellow")}
_WORSE = ("✗", "red")
_REFUSED = ("!", "yellow")


class LogLines:
    """Renders a record for people, with all that it has. colours: for a terminal."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        """The line; a trace stands below it."""
        said = dict(event)
        time = _clock(str(said.pop("timestamp", "")))
        mark, colour = _MARKS.get(str(said.pop("level", "info")), _WORSE)
        below = [str(said.pop(name)) for name in ("stack", "exception") if name in said]
        if said.get("event") == "call" and {"method", "code", "ms", "peer"} <= said.keys():
            if said["code"] != "OK" and mark == "·":
                mark, colour = _REFUSED
            words = _call(said)
        else:
            words = _words(said)
        text = f"{self._style(time, dim=True)} {self._style(mark, fg=colour, bold=True)} "
        text += self._style(one_line(words), fg=colour)
        if said:
            more = " ".join(f"{name}={_value(value)}" for name, value in sorted(said.items()))
            text += " " + self._style(one_line(more), dim=True)
        for line in "\n".join(below).splitlines():
            text += "\n" + self._style(f"           {shown(line)}", dim=True)
        return text

    def _style(self, text: str, **style: Any) -> str:
        return typer.style(text, **style) if self._colours else text


def _call(said: MutableMapping[str, Any]) -> str:
    """What is said of a call. Takes away what it says."""
    method = str(said.pop("method")).removeprefix("/").removeprefix("tocsin.v1.")
    code, ms, peer = said.pop("code"), said.pop("ms"), str(said.pop("peer")).removeprefix("ipv4:")
    del said["event"]
    said.pop("logger", None)  # its own one
    return f"{method} {code} in {ms} ms, called from {peer}"


def _words(said: MutableMapping[str, Any]) -> str:
    """What happened, and who says so."""
    event, logger = str(said.pop("event", "")), said.pop("logger", None)
    return f"{event} ({logger})" if logger else event


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not set(value) & {" ", '"'}:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _clock(iso: str) -> str:
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return datetime.now().astimezone().strftime("%H:%M:%S")
