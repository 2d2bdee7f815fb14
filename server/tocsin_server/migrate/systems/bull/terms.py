"""A job's options as retry policy, timeout and retention. What the options do not say, the server's defaults say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta

from tocsin_server.domain import limits
from tocsin_server.domain.defaults import SERVER_DEFAULTS
from tocsin_server.domain.job import Retention
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.times import MILLISECOND
from tocsin_server.migrate.systems.bull.dialect import Dialect
from tocsin_server.migrate.systems.bull.json_text import count_of, number_of, span_of

Options = Mapping[str, object]
Whys = list[str]

_DEFAULT = RetryPolicy()

_COUNTED = "how many ended jobs are kept is set for a queue here, not for a job: its {option} by number has no effect"
_TOO_MANY = "it has 100 attempts, the most here, and had more"
_CUSTOM = "its waits between attempts are worked out by code of the old worker; here they double from 2 s"
_LONGER = "Bull waits 1, 3, 7, ... of its delay between attempts; here it is 2, 4, 8, ..., each one delay longer"
_CAPPED = "its waits between attempts grow beyond {most}, where they end here"
_TIMEOUT = "its timeout is outside 1 ms to 30 days, and was brought within"


def retry_of(options: Options, dialect: Dialect, whys: Whys) -> RetryPolicy:
    """Attempts and waits. Where there is one attempt only, no wait is ever taken, and the waits are the defaults."""
    wanted = number_of(options.get("attempts")) or 0
    attempts = min(max(int(wanted), 1), limits.MAX_ATTEMPTS)
    if wanted > limits.MAX_ATTEMPTS:
        whys.append(_TOO_MANY)
    if attempts == 1:
        return RetryPolicy(max_attempts=1)
    backoff = options.get("backoff")
    if isinstance(backoff, Mapping):
        kind, delay = backoff.get("type"), number_of(backoff.get("delay")) or 0
        jitter = min(max(number_of(backoff.get("jitter")) or 0.0, 0.0), 1.0)
    else:  # a number is a fixed wait; nothing is none at all
        kind, delay, jitter = "fixed", number_of(backoff) or 0, 0.0
    match kind:
        case "fixed":
            return _policy(attempts, Backoff.FIXED, delay, jitter, whys)
        case "exponential":
            if dialect.doublings > 1 and delay > 0:
                whys.append(_LONGER)
            return _policy(attempts, Backoff.EXPONENTIAL, delay * dialect.doublings, jitter, whys)
        case _:
            whys.append(_CUSTOM)
            return RetryPolicy(max_attempts=attempts)


def _policy(attempts: int, backoff: Backoff, first_ms: float, jitter: float, whys: Whys) -> RetryPolicy:
    initial = span_of(first_ms, MILLISECOND, limits.MAX_INITIAL_DELAY)
    if initial < timedelta(milliseconds=min(first_ms, 1e12) - 1):
        whys.append(_CAPPED.format(most="24 h"))
    longest = max(_DEFAULT.max_delay, initial)
    if backoff is Backoff.EXPONENTIAL:
        longest = limits.MAX_BACKOFF
        if first_ms > 0 and math.log2(first_ms) + attempts - 2 > math.log2(longest / MILLISECOND):
            whys.append(_CAPPED.format(most="30 days"))
    return RetryPolicy(attempts, backoff, initial, longest, jitter)


def timeout_of(options: Options, dialect: Dialect, whys: Whys) -> timedelta | None:
    """How long an attempt may run; None where it may run for ever."""
    ms = number_of(options.get("timeout")) if dialect.has_timeout else None
    if not ms:
        return None
    timeout = span_of(ms, MILLISECOND, limits.MAX_TIMEOUT)
    if not 1 <= ms <= limits.MAX_TIMEOUT / MILLISECOND:
        whys.append(_TIMEOUT)
    return timeout


def retention_of(options: Options, whys: Whys) -> Retention:
    """How long it is kept after its end."""
    defaults = SERVER_DEFAULTS
    completed, failed = defaults.completed_for or timedelta(0), defaults.failed_for or timedelta(0)
    return Retention(
        _kept_for(options, "removeOnComplete", completed, whys), _kept_for(options, "removeOnFail", failed, whys)
    )


def _kept_for(options: Options, option: str, default: timedelta, whys: Whys) -> timedelta:
    """Bull and BullMQ keep for ever where nothing is said, or false. Here that is the server's default."""
    kept = options.get(option)
    age: object = None
    count: object = kept
    if isinstance(kept, Mapping):
        age, count = kept.get("age"), kept.get("count")
    if kept is True or (isinstance(count, (int, float)) and not isinstance(count, bool) and count == 0):
        return timedelta(0)
    if not isinstance(count, bool) and count_of(count, 1):
        whys.append(_COUNTED.format(option=option))
    seconds = number_of(age)
    return default if seconds is None else span_of(seconds * 1000, timedelta(0), limits.MAX_RETENTION)
