"""`@handlers.on(..., payload=Resize)`: what a handler is given, and what a payload that does not fit comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pytest
from support.jobs.typed import Colour, Mail, Resize, Size
from tocsin.payloads import python_from_value, struct_from_dict
from tocsin.v1 import job_pb2
from tocsin.worker.context import JobContext
from tocsin.worker.errors import InvalidPayload
from tocsin.worker.loading import load_handlers
from tocsin.worker.registry import Handlers
from tocsin.worker.source import Ending, LeasedJob
from unit.client.worker.memory_source import MemorySource, a_job, running

SECRET = "s3cret"
GOOD: dict[str, object] = {"path": "a.png", "sizes": [{"width": 3, "height": 5}, {"width": 2}], "colour": "BLUE"}
KINDS = ["resize_async", "resize_thread", "resize_process", "resize_process_async"]


@dataclass
class Loose:
    __payload_extra__ = "ignore"

    n: int = 1


@dataclass
class Kinds:
    n: int | None = None
    x: float = 0.0
    both: str | int = ""
    flag: bool = False
    day: date | None = None
    pair: tuple[int, ...] = ()
    rows: dict[str, list[Size]] = dataclasses.field(default_factory=dict)
    anything: Any = None
    derived: int = dataclasses.field(default=7, init=False)


@dataclass
class HasBytes:
    inner: list[bytes]


@dataclass
class HasInitVar:
    n: dataclasses.InitVar[int]


@dataclass
class HasUnknownName:
    n: Nowhere  # type: ignore[name-defined]  # noqa: F821  # the mistake under test


class Codes(Mail):
    codes: dict[str, int]


def with_data(type: str, data: dict[str, object]) -> LeasedJob:
    return a_job(type, payload_kind=10, payload_body=struct_from_dict(data).SerializeToString())


def read(kind: type, data: dict[str, object]) -> Any:
    """What a handler would be given."""
    handlers = Handlers()
    handlers.on("t", payload=kind)(lambda job, payload: None)
    handler = handlers.get("t")
    assert handler is not None
    return handler.arguments(JobContext(with_data("t", data)))[1]


def misfit(kind: type, data: dict[str, object]) -> str:
    with pytest.raises(InvalidPayload) as refused:
        read(kind, data)
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)  # they would tell the values
    prefix = f"the payload is no {kind.__name__}: "
    assert str(refused.value).startswith(prefix)
    return str(refused.value).removeprefix(prefix)


@pytest.fixture
async def source() -> AsyncIterator[MemorySource]:
    async with running(load_handlers("support.jobs.typed")) as (source, _):
        yield source


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_handler_is_given_an_object_or_is_not_called(source: MemorySource, kind: str) -> None:
    good, bad = with_data(kind, GOOD), with_data(kind, {**GOOD, "sizes": [{"width": SECRET}]})
    source.add(good, bad)
    [ended, failed] = await source.finished(good, bad, within=30)
    assert ended.result is not None, ended
    result = python_from_value(job_pb2.Result.FromString(ended.result).data)
    assert result == {"path": "a.png", "area": 215, "colour": "BLUE"}
    assert (failed.ending, failed.error_type, failed.retryable) == (Ending.FAILED, "INVALID_PAYLOAD", False)
    assert failed.error_message == "the payload is no Resize: sizes[0].width: must be a whole number, not text"
    assert failed.error_trace == ""


async def test_a_failure_inside_a_typed_handler_is_like_any_other() -> None:
    handlers = Handlers()

    @handlers.on("t", payload=Loose)
    def fails(job: JobContext, payload: Loose) -> None:
        raise KeyError(payload.n)

    async with running(handlers) as (source, _):
        job = a_job()  # no payload is as an empty one
        source.add(job)
        [outcome] = await source.finished(job)
    assert (outcome.error_type, outcome.error_message, outcome.retryable) == ("KeyError", "1", True)
    assert "in fails" in outcome.error_trace


def test_a_dataclass_is_read_with_all_that_it_may_hold() -> None:
    data: dict[str, object] = {**GOOD, "taken": "2026-12-24T18:00:00Z", "factor": 2, "names": {"a": 1.0}}
    got = read(Resize, {**data, "mode": "good", "parent": GOOD})
    sizes = [Size(3, 5), Size(2)]
    parent = Resize("a.png", sizes, Colour.BLUE)
    taken = datetime(2026, 12, 24, 18, tzinfo=UTC)
    assert got == Resize("a.png", sizes, Colour.BLUE, taken, 2.0, {"a": 1}, "good", parent)
    assert (type(got.factor), type(got.names["a"])) == (float, int)
    more = read(Kinds, {"n": 2, "both": 3, "day": "2026-12-24", "pair": [1, 2], "rows": {"a": [{"width": 1}]}})
    assert more == Kinds(n=2, both=3, day=date(2026, 12, 24), pair=(1, 2), rows={"a": [Size(1)]})


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (Resize, {}, "path: is missing; sizes: is missing"),
        (Resize, {**GOOD, "path": 7}, "path: must be text, not a number"),
        (Resize, {**GOOD, "path": None}, "path: must be text, not null"),
        (Resize, {**GOOD, "sizes": SECRET}, "sizes: must be a list, not text"),
        (Resize, {**GOOD, "sizes": [1]}, "sizes[0]: must be an object, not a number"),
        (Resize, {**GOOD, "sizes": [{}]}, "sizes[0].width: is missing"),
        (Resize, {**GOOD, "sizes": [{"width": -77}]}, "sizes[0]: is refused by Size itself (ValueError)"),
        (Resize, {**GOOD, "sizes": [{"width": 1, "depth": SECRET}]}, "depth: is unknown; Size has width, height"),
        (Resize, {**GOOD, "colour": SECRET}, "colour: must be one of RED, BLUE"),
        (Resize, {**GOOD, "taken": SECRET}, "taken: must be a datetime in ISO 8601, like 2026-12-24T18:00:00Z"),
        (Resize, {**GOOD, "names": {"a": 1.5}}, "names.a: must be a whole number, not a number"),
        (Resize, {**GOOD, "mode": SECRET}, "mode: must be one of 'fast', 'good'"),
        (Resize, {**GOOD, "parent": {"path": "b"}}, "parent.sizes: is missing"),
        (Kinds, {"n": True}, "n: must be a whole number, not true or false"),
        (Kinds, {"n": 1e300}, "n: must be a whole number"),
        (Kinds, {"flag": 1}, "flag: must be true or false, not a number"),
        (Kinds, {"both": [SECRET]}, "both: fits none of the kinds"),
        (Kinds, {"derived": 1}, "derived: is unknown"),
        (Mail, {"to": SECRET}, "to: Input should be a valid list"),
        (Mail, {"to": [], "from": f"x{SECRET}"}, "from: is refused by the class itself (value_error)"),
        (Mail, {"to": [], "copies": 0}, "copies: Input should be greater than or equal to 1"),
        (Codes, {"to": ["a", {}], "codes": {"a": SECRET}}, "to[1]: Input should be a valid string; codes.a: Input"),
    ],
)
def test_a_misfit_is_told_by_its_path_and_what_may_stand_there(kind: type, data: dict[str, object], says: str) -> None:
    told = misfit(kind, data)
    assert says in told
    assert SECRET not in told
    assert "77" not in told


def test_bytes_are_no_object() -> None:
    handlers = Handlers()
    handlers.on("t", payload=Loose)(lambda job, payload: None)
    handler = handlers.get("t")
    assert handler is not None
    raw = job_pb2.JobSpec()
    raw.raw.body = b"\xff"
    with pytest.raises(InvalidPayload, match="bytes"):
        handler.arguments(JobContext(a_job(payload_kind=11, payload_body=raw.raw.SerializeToString())))


def test_unknown_fields_are_passed_over_where_the_class_says_so() -> None:
    assert read(Loose, {"n": 2, "m": 3}) == Loose(2)
    assert read(Mail, {"to": [], "more": 1}) == Mail(to=[])  # pydantic's own default


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (dict, "give a dataclass or a pydantic model"),
        (Size(1), "give a dataclass or a pydantic model"),
        (HasBytes, r"HasBytes\.inner\[\]: a payload cannot hold <class 'bytes'>"),
        (HasInitVar, r"HasInitVar\.n: an InitVar"),
        (HasUnknownName, "'Nowhere' is not known"),
    ],
)
def test_a_class_that_no_payload_can_be_is_refused_when_registered(payload: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Handlers().on("t", payload=payload)


@pytest.mark.parametrize("function", [lambda job: None, lambda: None, lambda a, b, c: None])
def test_a_typed_handler_takes_two_arguments(function: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="two arguments, the JobContext and the Size"):
        Handlers().on("t", payload=Size)(function)


def test_a_merged_handler_keeps_its_class() -> None:
    handler = Handlers.merged(load_handlers("support.jobs.typed")).get("resize_thread")
    assert handler is not None
    assert handler.payload is Resize
