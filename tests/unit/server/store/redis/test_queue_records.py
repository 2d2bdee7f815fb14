"""Settings of a queue as they are stored: what an older server wrote is read, and what a newer one adds is let be."""

from __future__ import annotations

from datetime import timedelta

from tocsin_server.domain.defaults import JobDefaults
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.domain.retry import Backoff
from tocsin_server.store.redis.queue_records import settings_bytes, settings_of

#: As the first servers wrote it, before there was a concurrency.
OLD = (
    b'{"defaults": {"max_attempts": 7, "backoff": 1, "jitter": 0.5, "initial_delay_ms": 1, "max_delay_ms": 60000, '
    b'"timeout_ms": 9000, "completed_for_ms": 0, "failed_for_ms": 86400000}, "types": {"sms": {"jitter": 0.0}}}'
)
OLD_SETTINGS = QueueSettings(
    defaults=JobDefaults(
        7,
        Backoff.FIXED,
        timedelta(milliseconds=1),
        timedelta(minutes=1),
        0.5,
        timedelta(seconds=9),
        timedelta(0),
        timedelta(days=1),
    ),
    type_defaults={"sms": JobDefaults(jitter=0.0)},
)


def test_settings_of_before_there_was_a_concurrency_are_read_as_they_were_meant() -> None:
    assert settings_of([None, None, OLD, None, None, None]) == OLD_SETTINGS


def test_settings_without_a_concurrency_are_written_as_before() -> None:
    assert settings_of([None, None, settings_bytes(OLD_SETTINGS), None, None, None]) == OLD_SETTINGS
    assert b"concurrency" not in settings_bytes(OLD_SETTINGS)


def test_what_only_a_newer_server_knows_is_let_be() -> None:
    newer = b'{"defaults": {"concurrency": 3, "colour": "red"}, "types": {}, "more": 1}'
    assert settings_of([None, None, newer, None, None, None]) == QueueSettings(defaults=JobDefaults(concurrency=3))


def test_settings_of_before_there_was_a_push_target_stay_as_they_are() -> None:
    old = b'{"defaults": {"concurrency": 3}, "types": {}}'
    settings = settings_of([None, None, old, None, None, None])
    assert settings_bytes(settings) == old
