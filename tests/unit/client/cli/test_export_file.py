"""Whatever a file holds, each line is a record or is said to be bad, and a file has its name only once it is whole."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from tocsin import TransferRecord
from tocsin.cli.export_file import (
    LINE_BYTES,
    BadLine,
    ExportFile,
    NotAnExport,
    first_line,
    last_line,
    record_line,
    written,
)

from ..transfer_server import a_record

FIRST, LAST = first_line({}), last_line(1)
GOOD = record_line(a_record())


def read(raw: bytes) -> list[TransferRecord | str]:
    """What the lines are; a bad one as "LINE: what is said of it"."""
    file = ExportFile(io.BytesIO(raw))
    return [f"{file.line}: {found}" if isinstance(found, BadLine) else found for found in file.records()]


def starts(found: list[TransferRecord | str]) -> list[str]:
    """The same, with records as "good" and the first words of what is bad."""
    return ["good" if isinstance(one, TransferRecord) else " ".join(one.split()[:4]) for one in found]


def test_a_record_comes_back_as_it_was_written() -> None:
    record = a_record("é\u2028\U0001f514", payload=bytes(range(256)))
    record.job.job.create_time.FromJsonString("2026-01-02T03:04:05.678Z")
    record.job.job.spec.retry.jitter = 0.1
    record.job.result = b""
    record.job.arrival = 2**44
    line = record_line(record)
    assert line.count(b"\n") == 1
    assert read(FIRST + line + LAST) == [record]
    assert json.loads(line)["job"]["job"]["job_id"] == "é\u2028\U0001f514", "names are those of the protos"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"{", "3: no JSON: Expecting"),
        (b"\xff\xfe", "3: no JSON: 'utf-8'"),
        (b"[1]", "3: no record: it"),
        (b"null", "3: no record: it"),
        (b'"x"', "3: no record: it"),
        (b'{"jobs": {}}', "3: no record: Message"),
        (b'{"job": 5}', "3: no record: Failed"),
        (b'{"job": {"payload": "A!AAA"}}', "3: no record: job.payload is no base64"),
        (b'{"job": {"payload": "AAAAA"}}', "3: no record: Failed"),
        (b'{"note": {"value": " AAAA"}}', "3: no record: note.value is no base64"),
        (b'{"job": {"payload": {"a": 1}}}', "3: no record: Failed"),
        (b'{"job": {"job": {"state": "RUNS"}}}', "3: no record: Failed"),
        (b'{"job": {"job": {"create_time": "yesterday"}}}', "3: no record: Failed"),
        (b'{"job": {"job": {"create_time": "9999999-01-01T00:00:00Z"}}}', "3: no record: Failed"),
        (b'{"job": {"arrival": 1e300}}', "3: no record: Failed"),
        (b'{"job": {"arrival": 99999999999999999999}}', "3: no record: Failed"),
        (b'{"job": {"arrival": ' + b"9" * 5_000 + b"}}", "3: no JSON: Exceeds"),
        (b'{"job": {"job": {"job_id": "\\ud800"}}}', "3: no record: Failed"),
        (b'{"queue": {}, "job": {}}', "3: no record: Message"),
        ('{"job": {}}'.encode("utf-16"), "3: no JSON: 'utf-8'"),
        (b'{"a":' * 100_000, "3: no JSON that"),
        (b'{"job": {"job": {"spec": ' + b'{"data": {"a":' * 200 + b"1" + b"}" * 402, "3: no"),
        (b"x" * (LINE_BYTES + 5), "3: is longer than"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_bad_line_is_named_and_the_rest_goes_on(raw: bytes, said: str) -> None:
    found = read(FIRST + GOOD + raw + b"\n" + GOOD + last_line(3))
    assert [one if isinstance(one, str) else "good" for one in (found[0], found[2])] == ["good", "good"]
    assert isinstance(found[1], str)
    assert found[1].startswith(said)
    assert len(found) == 3


def test_empty_lines_are_passed_over_and_counted() -> None:
    assert starts(read(FIRST + b"\n  \r\n" + GOOD + b"{\n" + last_line(2))) == ["good", "5: no JSON: Expecting"]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_that_breaks_off_anywhere_is_known_for_it(packed: bool) -> None:
    whole = FIRST + b"".join(record_line(a_record(f"j{n}", payload=os.urandom(99))) for n in range(50)) + last_line(50)
    raw = gzip.compress(whole) if packed else whole
    assert starts(read(raw)) == ["good"] * 50
    for at in range(len(FIRST) + (300 if packed else 0), len(raw), 997):
        found = read(raw[:at])
        assert isinstance(found[-1], str)
        assert "break" in found[-1] or "broken off" in found[-1]
    assert starts(read(raw[: len(raw) - 1])) == ["good"] * 50 + (["53: the file breaks"] if packed else [])


def test_bytes_behind_a_packed_file_are_told() -> None:
    assert starts(read(gzip.compress(FIRST + GOOD) + b"garbage"))[-1].endswith("the file breaks")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no JSON"),
        (b"\n", "no JSON"),
        (GOOD, "says nothing of it"),
        (b"#!/bin/sh\n", "no JSON"),
        (b"\x1f\x8b" + b"x" * 50, "does not begin"),
        (gzip.compress(FIRST, mtime=0)[:12], "does not begin"),
        (b'{"tocsin_export": 2}\n', "another version"),
        (b'{"tocsin_export": "' + b"x" * 9_999 + b'"}\n', "another version"),
        (bytes(LINE_BYTES + 1), "longer than"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_export_is_refused_as_a_whole(raw: bytes, why: str) -> None:
    with pytest.raises(NotAnExport, match=why) as caught:
        ExportFile(io.BytesIO(raw))
    assert len(str(caught.value)) < 300


_NAMES = st.sampled_from(["job", "queue", "note", "payload", "spec", "x"])
_VALUES = st.recursive(
    st.none() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_a_record_or_bad(line: bytes) -> None:
    line = line.replace(b"\n", b" ")
    found = read(FIRST + line + b"\n" + GOOD)
    assert len(found) <= 3
    assert starts(found)[-2:] == ["good", "4: the file has"] or b"tocsin_export_end" in line


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with pytest.raises(ZeroDivisionError), written(str(path)) as out:  # noqa: PT012 - what is written before it fails
        out.write(FIRST)
        assert path.read_bytes() == b"old"
        raise ZeroDivisionError
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]
    assert path.read_bytes() == b"old"
    with written(str(path)) as out:
        out.write(FIRST)
    assert path.read_bytes() == FIRST
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "link.gz").symlink_to("real")
    with written(str(tmp_path / "link.gz")) as out:
        out.write(FIRST)
    assert (tmp_path / "link.gz").is_symlink()
    assert gzip.decompress((tmp_path / "real").read_bytes()) == FIRST


def test_a_pipe_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written(str(pipe)) as out:
        out.write(FIRST)
    assert os.read(reader, 1_000) == FIRST
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_the_same_export_is_the_same_packed_file(tmp_path: Path) -> None:
    found: list[Any] = []
    for name in ("a.gz", "b.gz"):
        with written(str(tmp_path / name)) as out:
            out.write(FIRST)
        found.append((tmp_path / name).read_bytes())
    assert found[0] == found[1]


def test_the_json_is_that_of_protobuf() -> None:
    assert json_format.Parse(GOOD, TransferRecord()) == a_record()


@pytest.mark.parametrize(("records", "found"), [(1, "2"), (3, "2"), (5_000, "2")])
def test_lines_that_are_missing_or_too_many_are_noticed(records: int, found: str) -> None:
    lines = read(FIRST + GOOD + GOOD + last_line(records))
    assert starts(lines)[:2] == ["good", "good"]
    assert lines[2:] == [f"4: the file has {found} records, and had {records:,} when it was written"]


def test_a_last_line_without_a_count_is_enough() -> None:
    assert starts(read(FIRST + GOOD + GOOD + b'{"tocsin_export_end":1}\n')) == ["good", "good"]
