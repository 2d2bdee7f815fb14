"""Rules of Bull and BullMQ in words."""

from __future__ import annotations

from tocsin_server.migrate.systems.bull.rule_words import left_because, words_of, words_of_member


def test_members_are_said_as_they_were_written() -> None:
    until = ", until 2026-01-01T00:00:00Z"
    member = b"name:id:1767225600000:Europe/Berlin:0 3 * * *"
    assert words_of_member(member) == f"cron '0 3 * * *' in Europe/Berlin{until}"
    assert words_of_member(b"name::::*/5 * * * *") == "cron '*/5 * * * *'"
    assert words_of_member(b"name:::300000") == "every 300000 ms"
    assert words_of_member(b"\xff") == "by a rule that cannot be read"


def test_options_are_said_with_ends_and_limits() -> None:
    said = {"pattern": "0 3 * * *", "startDate": 1790000000000, "endDate": b"1800000000000", "limit": 5.0, "data": "{}"}
    until = "until 2027-01-15T08:00:00Z"
    assert words_of(said) == f"cron '0 3 * * *', from 2026-09-21T14:13:20Z, {until}, at most 5 times"
    assert words_of({"every": 60000, "tz": None, "data": b'{"a":1}'}) == "every 60000 ms, with data"
    assert words_of({"limit": 5}) == "by a rule that cannot be read"


def test_a_reason_is_short_whatever_the_rule_is() -> None:
    assert len(left_because(words_of({"cron": "9" * 5_000}), "no")) < 300
