"""W3C Trace Context, as metadata of a call bear it: https://www.w3.org/TR/trace-context/.

Who calls through OpenTelemetry's instrumentation of gRPC, in whatever language, sends it and need not know of it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tocsin_server.api.interceptors.call import Context
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.defaults import JobRequest

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
#: Of version 00; of a later one what may follow it. Neither trace nor span is all zeros, and no version is ff.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,100})?"
)
_TRACESTATE = re.compile(r"[\x20-\x7e]{0,512}")


def is_traceparent(said: str) -> bool:
    """Whether it names a span."""
    return _TRACEPARENT.fullmatch(said) is not None


def is_tracestate(said: str) -> bool:
    """Whether it may be passed on."""
    return _TRACESTATE.fullmatch(said) is not None


class CallTrace:
    """The span that a call was made in, for the jobs that it schedules and that name none themselves."""

    def __init__(self, context: Context) -> None:
        parent = state = ""
        for name, value in context.invocation_metadata() or ():
            if name == TRACEPARENT and isinstance(value, str):
                parent = value
            elif name == TRACESTATE and isinstance(value, str):
                state = f"{state},{value}" if state else value
        # What is no trace context is none, says the recommendation; the call is not to blame for it.
        self._parent = parent if parent and is_traceparent(parent) else ""
        self._state = state if self._parent and is_tracestate(state) else ""
        self._alone: Conditions | None = None

    def onto(self, requests: list[JobRequest]) -> list[JobRequest]:
        """The jobs with the trace of the call."""
        return [self._onto(request) for request in requests] if self._parent else requests

    def _onto(self, request: JobRequest) -> JobRequest:
        conditions = request.conditions
        if conditions.traceparent:
            return request
        if conditions is not NO_CONDITIONS:
            conditions = replace(conditions, traceparent=self._parent, tracestate=self._state)
        elif self._alone is None:
            # One for all of a batch, so that jobs which are alike stay so.
            conditions = self._alone = Conditions(traceparent=self._parent, tracestate=self._state)
        else:
            conditions = self._alone
        return replace(request, conditions=conditions)
