"""How values are written on a page, what people type into fields, and the lines of a terminal."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tocsin.v1 import job_pb2
from tocsin_server.web.commands import Commands
from tocsin_server.web.fields import WrongFilter, moment, span_of, tags_of
from tocsin_server.web.rendering import payload_of, rate, span, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0004, "0 ms"), (0.25, "250 ms"), (1, "1.0 s"), (9.96, "10.0 s"), (59, "59 s"), (60, "1 min"),
        (61, "1 min 1 s"), (3_599, "59 min"), (3_660, "1 h 1 min"), (86_400, "1 d"), (90_000, "1 d 1 h"),
        (40 * 86_400, "40 d"), (-86_400, "-1 d"),
    ],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_moments_say_when_to_scripts_and_to_people() -> None:
    time = Timestamp()
    assert "none" in when(time)
    time.FromDatetime(datetime(2030, 12, 24, 18, 0, 0, 250_000))
    assert 'datetime="2030-12-24T18:00:00.250Z"' in when(time)
    assert "2030-12-24 18:00:00 UTC</time>" in when(time)
    assert [rate(0), rate(0.034), rate(12.34), rate(4_321.6)] == ["0.0", "0.03", "12.3", "4,322"]


def test_what_is_typed() -> None:
    assert tags_of(" city=Bern , vip= ") == {"city": "Bern", "vip": ""}
    assert tags_of("") == {}
    with pytest.raises(WrongFilter, match="key=value"):
        tags_of("city")
    assert moment("2030-12-24T18:00").ToDatetime() == datetime(2030, 12, 24, 18)
    assert moment("2030-12-24T18:00+01:00").ToDatetime() == datetime(2030, 12, 24, 17)
    assert abs(moment("2h").ToDatetime(tzinfo=UTC) - datetime.now(UTC) + timedelta(hours=2)) < timedelta(minutes=1)
    assert moment("2h", ahead=True).ToDatetime() > moment("2h").ToDatetime()
    for wrong in ("soon", "2", "999999999d", "24.12.2030"):
        with pytest.raises(WrongFilter):
            moment(wrong)
    assert span_of("1h30m") == timedelta(minutes=90)
    assert span_of("later") is None


def test_payloads_are_bounded() -> None:
    spec = job_pb2.JobSpec()
    assert payload_of(spec) == ""
    spec.raw.body = b"x" * 100_000
    assert payload_of(spec).endswith("more characters")
    assert len(payload_of(spec)) < 70_000
    spec.data.update({"n": 1, "half": 0.5, "large": 1e300})
    assert '"n": 1\n' in payload_of(spec)
    assert "0.5" in payload_of(spec)


def test_lines_are_what_a_shell_takes() -> None:
    here, there = Commands("127.0.0.1:50051", False, False), Commands("jobs.example:443", True, True)
    lines = here.lines(["jobs", "run", "it's; rm -rf"], "JobService/RunJob", {"job_id": "it's; rm -rf"})
    assert shlex.split(lines.tocsin) == ["tocsin", "jobs", "run", "it's; rm -rf"]
    assert shlex.split(lines.grpcurl)[:4] == ["grpcurl", "-plaintext", "-d", '{"job_id": "it\'s; rm -rf"}']
    lines = there.lines(["jobs", "run", "-x"], "JobService/RunJob", {"job_id": "-x"}, queue="mail")
    assert lines.tocsin == "tocsin jobs run --queue mail --tls --address jobs.example:443 -- -x"
    assert lines.grpcurl.startswith('grpcurl -H "authorization: Bearer $TOCSIN_TOKEN" -d ')
    assert lines.grpcurl.endswith(" jobs.example:443 tocsin.v1.JobService/RunJob")
