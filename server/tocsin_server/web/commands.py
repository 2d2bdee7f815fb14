"""The lines that do in a terminal what a button of a page does: `tocsin ...` and `grpcurl ...`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_DEFAULT_PORT = "50051"


@dataclass(frozen=True, slots=True)
class CommandLines:
    """The same thing, done by both."""

    tocsin: str
    grpcurl: str


@dataclass(frozen=True, slots=True)
class Commands:
    """Makes such lines for one server."""

    address: str  # host:port of gRPC
    tls: bool
    login: bool

    def lines(
        self,
        words: Sequence[str],
        method: str,
        request: Mapping[str, Any],
        *,
        queue: str = "",
        options: Sequence[str] = (),
    ) -> CommandLines:
        """`words` of the command; `method` as "JobService/RunJob" with its request."""
        return CommandLines(self._tocsin(words, options, queue), self._grpcurl(method, request, queue))

    def _tocsin(self, words: Sequence[str], options: Sequence[str], queue: str) -> str:
        # A name may begin with a dash: then it goes last, where nothing can be an option.
        last = words[2:] if any(word.startswith("-") for word in words[2:]) else ()
        parts = ["tocsin", *map(shlex.quote, words[:2] if last else words), *map(shlex.quote, options)]
        if queue and queue != "default":
            parts += ["--queue", shlex.quote(queue)]
        if self.tls:
            parts += ["--tls"]
        if self.address not in (f"127.0.0.1:{_DEFAULT_PORT}", f"localhost:{_DEFAULT_PORT}"):
            parts += ["--address", self.address]
        return " ".join([*parts, *(["--", *map(shlex.quote, last)] if last else ())])

    def _grpcurl(self, method: str, request: Mapping[str, Any], queue: str) -> str:
        asked = {**({"queue": queue} if queue and queue != "default" else {}), **request}
        parts = ["grpcurl"]
        if not self.tls:
            parts.append("-plaintext")
        if self.login:
            parts.append('-H "authorization: Bearer $TOCSIN_TOKEN"')
        if asked:
            parts += ["-d", shlex.quote(json.dumps(asked, ensure_ascii=False))]
        return " ".join([*parts, self.address, f"tocsin.v1.{method}"])
