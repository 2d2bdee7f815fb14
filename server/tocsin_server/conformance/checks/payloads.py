"""What a job carries comes through, and what a worker does not know does not disturb it."""

from __future__ import annotations

import hashlib
from typing import Any

from google.protobuf.message import Message
from tocsin.v1 import payloads_pb2

from tocsin_server.conformance.checking import check, expect, leased_jobs
from tocsin_server.conformance.stage import Stage

_BIG = 900 * 1024
_SCRIPTS = {
    "Grüße": "Straße, ça, naïve, Łódź",
    "кириллица": "Привет, мир",
    "漢字": "日本語 中文 한국어",
    "עברית": "\u202eשלום\u202c",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0001f9ff",
    "combining": "e\u0301 \u0041\u030a",
    "controls": 'tab\t newline\n nul\x00 quote" backslash\\',
    "": "an empty key",
}
_UNKNOWN = b"\xfa\xff\x03\x0afrom later"  # field 8191, bytes: no field of any message here


@check("echo", "it runs a job, and its result is recorded")
async def echo(stage: Stage) -> None:
    data = {"text": "hello", "number": 4.5, "whole": 7, "yes": True, "none": None, "list": [1, {"deep": [[]]}]}
    job = await stage.run("echo", data)
    expect(job.result == data, f"the result is not what was given: {job.result!r}")


@check("no_payload", "a job without a payload is run, too")
async def no_payload(stage: Stage) -> None:
    await stage.run("echo")


@check("non_ascii", "text of all scripts comes through unharmed, as keys and as values")
async def non_ascii(stage: Stage) -> None:
    job = await stage.run("echo", _SCRIPTS)
    expect(job.result == _SCRIPTS, f"the result is not what was given: {job.result!r}")


@check("raw_payload", "bytes come through unharmed")
async def raw_payload(stage: Stage) -> None:
    raw = payloads_pb2.RawPayload(content_type="application/x-tocsin", body=bytes(range(256)))
    job = await stage.run("echo", raw)
    result = job.message.result
    expect(result.WhichOneof("value") == "raw", "a RawPayload was not returned as `raw`")
    expect(result.raw.body == raw.body, "the bytes of the result are not those that were given")
    expect(result.raw.content_type in (raw.content_type, ""), f"their content type is {result.raw.content_type}")


@check("big_payload", "a payload of 900 KiB comes through unharmed")
async def big_payload(stage: Stage) -> None:
    body = bytes(n * 7 % 251 for n in range(1024)) * (_BIG // 1024)
    job = await stage.run("digest", body, within=10.0)
    expect(job.result == hashlib.sha256(body).hexdigest(), f"its digest is not that of the payload: {job.result!r}")


@check("unknown_fields", "fields that its protos do not have, from a later server, do not disturb it")
async def unknown_fields(stage: Stage) -> None:
    with stage.relay.altering(down=_with_unknown_fields):
        job = await stage.run("echo", {"n": 1}, within=10.0)
    expect(job.result == {"n": 1}, f"the result is not what was given: {job.result!r}")


def _with_unknown_fields(message: Message) -> list[Message]:
    altered = type(message)()
    altered.CopyFrom(message)
    leased = leased_jobs(altered)
    for one in [altered, *leased, *(lease.job for lease in leased), *(lease.job.spec for lease in leased)]:
        one.MergeFromString(_UNKNOWN)
    return [altered]


@check("unknown_type", "a job of a type that it has no handler for is failed or given back, and it goes on")
async def unknown_type(stage: Stage) -> None:
    def renamed(message: Any) -> list[Any]:
        for leased in leased_jobs(message):
            if leased.job.job_id == job_id:
                leased.job.spec.type = "conformance.of-a-later-version"
        return [message]

    job_id = await stage.schedule("echo", {"n": 2}, delay=0.3)
    with stage.relay.altering(down=renamed):
        lease = await stage.leased(job_id)
        await stage.journal.until(lambda: lease.outcomes, 5.0, "it said nothing of a job of an unknown type")
    expect(lease.kind in ("failed", "released"), f"a job of a type that it does not know was {lease.kind}")
    await stage.run("echo", {"n": 3})


CHECKS = (echo, no_payload, non_ascii, raw_payload, big_payload, unknown_fields, unknown_type)
