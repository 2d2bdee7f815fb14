"""What is typed is understood, or refused with how to write it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from tocsin import EmailNotification, ReportGeneration, State
from tocsin.cli import parsing
from tocsin.cli.texts import typed_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3s", 3), ("500ms", 0.5), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("7", 7), ("0", 0), ("0.25", 0.25)],
)
def test_spans_are_read(text: str, seconds: float) -> None:
    assert parsing.span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "s", "-3s", "3 s", "3x", "nan", "1e3", "s3", "9" * 30])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"write 3s, 500ms, 1h30m or 2d|too long"):
        parsing.span(text)


def test_times_are_read_with_their_zone() -> None:
    assert parsing.time("2030-12-24T18:00:00Z") == datetime(2030, 12, 24, 18, tzinfo=UTC)
    assert parsing.time("2030-12-24T18:00:00.5+02:00") == datetime(2030, 12, 24, 16, 0, 0, 500_000, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match=r"has no zone; write 2030-12-24T18:00:00Z"):
        parsing.time("2030-12-24T18:00:00")
    with pytest.raises(typer.BadParameter, match="no time"):
        parsing.time("tomorrow")


def test_tags_are_read() -> None:
    assert parsing.tags(["tenant=7", "formula=a=b", "empty="]) == {"tenant": "7", "formula": "a=b", "empty": ""}
    for text in ("tenant", "=7"):
        with pytest.raises(typer.BadParameter, match="key=value"):
            parsing.tags([text])


def test_words_are_read_in_any_case() -> None:
    assert parsing.words(State, ["failed", "Scheduled,ACTIVE"]) == [State.FAILED, State.SCHEDULED, State.ACTIVE]
    with pytest.raises(typer.BadParameter, match=r"'DONE' is not one of scheduled, .*cancelled"):
        parsing.words(State, ["done"])


def test_a_payload_is_a_json_object() -> None:
    assert parsing.payload("x", '{"a": [1]}', None) == ("x", {"a": [1]})
    assert parsing.payload("x", None, None) == ("x", None)


@pytest.mark.parametrize("data", ["", "[1]", "7", "{", '{"a": NaN}', '{"a": -Infinity}', "[" * 100_000])
def test_what_is_no_json_object_is_refused(data: str) -> None:
    with pytest.raises(typer.BadParameter):
        parsing.payload("x", data, None)


def test_a_payload_is_read_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "payload.json"
    file.write_text('{"a": "ü"}', encoding="utf-8")
    assert parsing.payload("x", None, file) == ("x", {"a": "ü"})
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 1}'))
    assert parsing.payload("x", None, Path("-")) == ("x", {"b": 1})
    with pytest.raises(typer.BadParameter, match="cannot be read"):
        parsing.payload("x", None, tmp_path / "missing.json")
    with pytest.raises(typer.BadParameter, match="not both"):
        parsing.payload("x", "{}", file)


def test_a_built_in_type_takes_its_own_message() -> None:
    named, rest = parsing.payload("email_notification", '{"to": ["ada@example.com"], "from": "bob@example.com"}', None)
    assert named == EmailNotification(to=["ada@example.com"], **{"from": "bob@example.com"})
    assert rest is None
    with pytest.raises(typer.BadParameter, match=r"no email_notification: .*too"):
        parsing.payload("email_notification", '{"too": []}', None)


@pytest.mark.parametrize(
    ("seconds", "typed"), [(0, "0s"), (90, "1m30s"), (0.5, "500ms"), (176_461.001, "2d1h1m1s1ms"), (3600, "1h")]
)
def test_spans_are_printed_as_they_are_typed(seconds: float, typed: str) -> None:
    assert typed_span(timedelta(seconds=seconds)) == typed
    assert parsing.span(typed) == timedelta(seconds=seconds)


def test_priorities_are_words_or_numbers() -> None:
    found = [parsing.priority(text) for text in ("low", "Normal", " HIGH ", "-3", "7")]
    assert found == [-10, 0, 10, -3, 7]
    for text in ("urgent", "", "1.5"):
        with pytest.raises(typer.BadParameter, match="none of low, normal, high, and no whole number"):
            parsing.priority(text)


@pytest.mark.parametrize("date", ["2099-01-01", "20990101", "2099-W01-1"])
def test_a_date_alone_is_told_what_is_missing_and_the_suggestion_is_taken(date: str) -> None:
    with pytest.raises(typer.BadParameter) as error:
        parsing.time(date)
    assert f"{date!r} is a date" in str(error.value)
    suggested = next(word for word in str(error.value).split() if word.endswith("T00:00:00Z"))
    assert parsing.time(suggested).utcoffset() == timedelta(0)


def test_a_moment_is_a_time_or_lies_so_far_back() -> None:
    assert parsing.moment("2030-12-24T18:00:00Z") == datetime(2030, 12, 24, 18, tzinfo=UTC)
    assert abs(datetime.now(UTC) - timedelta(days=7) - parsing.moment("7d")) < timedelta(minutes=1)
    with pytest.raises(typer.BadParameter, match="no time"):
        parsing.moment("-7d")


def test_a_built_in_type_takes_the_words_of_queue_modules() -> None:
    typed = '{"to": "ada@example.com", "template": "welcome", "data": {"name": "Ada"}, "priority": "high"}'
    mail, _ = parsing.payload("email_notification", typed, None)
    assert isinstance(mail, EmailNotification)
    assert (list(mail.to), mail.template_data["name"], mail.priority) == (["ada@example.com"], "Ada", mail.HIGH)
    report, _ = parsing.payload("report_generation", '{"formats": ["html", "CSV"], "emailTo": "a@example.com"}', None)
    assert isinstance(report, ReportGeneration)
    assert (list(report.formats), list(report.email_to)) == ([report.HTML, report.CSV], ["a@example.com"])
    # What Tocsin knows goes before what it translates.
    both = '{"to": ["a@example.com"], "template_data": {"name": "Ada"}, "data": {}}'
    with pytest.raises(typer.BadParameter, match=r"no email_notification: .*data"):
        parsing.payload("email_notification", both, None)


@pytest.mark.parametrize(
    "typed", ['{"amount": 25.00, "currency": "EUR"}', '{"amount_minor": 25.5}', '{"amountMinor": 0.1}']
)
def test_an_amount_in_whole_units_is_told_of_the_smallest(typed: str) -> None:
    with pytest.raises(
        typer.BadParameter, match="amount_minor, a whole number in the smallest unit of the currency: 2500"
    ):
        parsing.payload("payment_reminder", typed, None)
