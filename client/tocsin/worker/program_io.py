"""What a program is given of a job, and what its end means: standard streams, environment, exit code."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from typing import NoReturn

from tocsin import tracing
from tocsin.payloads import data_of
from tocsin.v1 import payloads_pb2
from tocsin.worker.errors import UnfitResult
from tocsin.worker.outcomes import ERROR_MESSAGE_BYTES, ERROR_TRACE_BYTES, cut, cut_start, raised, returned
from tocsin.worker.payloads import RESULT_BYTES, read_payload
from tocsin.worker.source import AttemptOutcome, Ending, LeasedJob

#: A program that ends with it wants the job to be tried again: EX_TEMPFAIL of sysexits.h.
TRY_AGAIN = 75

#: error_type of a program that ended with another exit code than 0, or by a signal.
EXIT_CODE, SIGNAL = "EXIT_CODE", "SIGNAL"

#: Content types of payloads on standard input.
JSON, BYTES = "application/json", "application/octet-stream"


def program_input(job: LeasedJob) -> tuple[bytes, Mapping[str, str]]:
    """What stands on its standard input, and what its environment has besides that of the worker.

    Raises UnfitPayload where the payload cannot be read.
    """
    payload = read_payload(job.payload_kind, job.payload_body)
    if payload is None:
        body, content_type = b"", ""
    elif isinstance(payload, payloads_pb2.RawPayload):
        body, content_type = payload.body, payload.content_type or BYTES
    else:
        body, content_type = json.dumps(data_of(payload), ensure_ascii=False).encode() + b"\n", JSON
    return body, {
        "TOCSIN_QUEUE": job.queue,
        "TOCSIN_JOB_ID": job.job_id,
        "TOCSIN_TYPE": job.type,
        "TOCSIN_ATTEMPT": str(job.attempt),
        "TOCSIN_FAILURES": str(job.failures),
        "TOCSIN_CONTENT_TYPE": content_type,
        **_trace_variables(job),
    }


def _trace_variables(job: LeasedJob) -> Mapping[str, str]:
    """As OpenTelemetry's tools for command lines read them. Empty where there is none, so that none is inherited."""
    parent, state = tracing.header(job.trace) or ("", "")
    return {"TRACEPARENT": parent, "TRACESTATE": state}


def program_outcome(job: LeasedJob, code: int, output: bytes, errors: bytes) -> AttemptOutcome:
    """How the attempt ended whose program has ended: with the exit code, or by the signal -code.

    0 completes, with what it wrote to standard output; TRY_AGAIN and signals are failures that may be retried, any
    other code is a failure for good. errors: the end of what it wrote to standard error.
    """
    if code == 0:
        return _completed(job, output)
    text = errors.decode("utf-8", "replace")
    lines = text.split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    how = f"killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
    return AttemptOutcome(
        job,
        Ending.FAILED,
        error_type=SIGNAL if code < 0 else EXIT_CODE,
        error_message=cut(f"{how}: {last}" if last else how, ERROR_MESSAGE_BYTES),
        error_trace=cut_start(text, ERROR_TRACE_BYTES),
        retryable=code < 0 or code == TRY_AGAIN,
    )


def _completed(job: LeasedJob, output: bytes) -> AttemptOutcome:
    if len(output) > RESULT_BYTES:
        why = (
            f"the program wrote more than {RESULT_BYTES:,} bytes to standard output, and at most so many are kept: "
            "let it put the result elsewhere and write where that is"
        )
        return raised(job, UnfitResult(why))
    try:
        text = output.decode()
    except UnicodeDecodeError:
        return returned(job, output)
    try:
        outcome = returned(job, json.loads(text, parse_constant=_refuse_constant))
        if outcome.ending is Ending.COMPLETED:
            return outcome
    except (ValueError, RecursionError):
        pass
    return returned(job, text.rstrip("\n") or None)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
