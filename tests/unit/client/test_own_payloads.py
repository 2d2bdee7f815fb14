"""Objects of dataclasses and pydantic models as payloads: what is sent, and what is refused before it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import RootModel
from support.jobs.typed import Colour, Mail, Resize, Size
from tocsin import InvalidArgument, JobRequest, WrongType
from tocsin._calls import update
from tocsin._job_requests import asked, schedule_request
from tocsin._shapes import reader
from tocsin.payloads import dict_from_struct
from tocsin.v1 import job_service_pb2 as pb

SECRET = "s3cret"
RESIZE = Resize("a.png", [Size(3)], Colour.BLUE, datetime(2026, 12, 24, tzinfo=UTC), parent=Resize("b", []))


@dataclass
class Holds:
    anything: Any
    mail: Mail | None = None


@dataclass
class HasBytes:
    body: bytes


def sent(payload: Any) -> dict[str, object]:
    spec = schedule_request(JobRequest("t", payload)).job
    assert spec.WhichOneof("payload") == "data"
    return dict_from_struct(spec.data)


def refused(payload: Any) -> tuple[str, str]:
    with pytest.raises(InvalidArgument) as error:
        sent(payload)
    assert error.value.reason == "INVALID_FIELD"
    [violation] = error.value.violations
    return violation.field, violation.description


def test_a_dataclass_is_sent_as_its_fields_and_read_back_the_same() -> None:
    data = sent(RESIZE)
    assert data["sizes"] == [{"width": 3, "height": 100}]
    assert (data["colour"], data["taken"]) == ("BLUE", "2026-12-24T00:00:00+00:00")
    assert reader(Resize)(data, "") == RESIZE


def test_a_pydantic_model_is_sent_in_its_own_words_and_read_back_the_same() -> None:
    mail = Mail.model_validate({"to": ["a"], "from": "ada"})
    assert sent(mail) == {"to": ["a"], "at": "2026-01-02T00:00:00Z", "copies": 1, "from": "ada"}
    assert reader(Mail)(sent(mail), "") == mail
    holds = Holds([1], mail)
    assert reader(Holds)(sent(holds), "") == holds


def test_schedule_and_update_take_them_too() -> None:
    assert schedule_request(asked("t", Size(1), {})).job.data.fields["width"].number_value == 1
    changed = update("id", {"payload": Size(2)}).request
    assert isinstance(changed, pb.UpdateJobRequest)
    assert changed.job.data.fields["width"].number_value == 2


def test_an_empty_one_is_a_payload() -> None:
    @dataclass
    class Empty: ...

    assert sent(Empty()) == {}


@pytest.mark.parametrize(
    ("payload", "field", "says"),
    [
        (Resize("a", [Size(1), Size(2, SECRET)]), "job.data.sizes[1].height", "must be a whole number"),  # type: ignore[arg-type]
        (Resize(None, []), "job.data.path", "must be text, not null"),  # type: ignore[arg-type]
        (Holds({1, 2}), "job.data.anything", "is a set"),
        (Holds({"a": [2**53 + 1]}), "job.data.anything.a[0]", "2^53"),
        (Holds(float("nan")), "job.data.anything", "finite"),
        (Holds(1, Mail.model_construct(to=[object()])), "job.data.mail", "cannot be written as JSON"),  # type: ignore[list-item]
        (HasBytes(b""), "job.data", "HasBytes.body: a payload cannot hold"),
        (RootModel[list[int]]([1]), "job.data", "no JSON object"),
        (Size, "job", "not type"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path_and_not_its_value(payload: Any, field: str, says: str) -> None:
    where, what = refused(payload)
    assert where == field
    assert says in what
    assert SECRET not in what


def test_one_that_holds_itself_is_refused() -> None:
    holds = Holds(None)
    holds.anything = [holds]
    assert refused(holds) == ("job.data", "is nested more than 32 deep")


def test_a_class_is_no_payload_and_an_object_no_type() -> None:
    with pytest.raises(WrongType, match="job's type"):
        schedule_request(JobRequest(Size(1)))  # type: ignore[arg-type]  # the mistake under test
