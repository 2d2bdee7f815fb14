"""What is logged is readable, by machines too, and holds no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from tocsin_server.telemetry.logs import configure_logs
from tocsin_server.telemetry.redaction import redact_url

PLANTED = "pl4nted-s3cret"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(*, level: str = "info", secrets: tuple[str, ...] = ()) -> tuple[io.StringIO, Any]:
    stream = io.StringIO()
    configure_logs(level, "json", secrets=secrets, stream=stream)  # type: ignore[arg-type]
    return stream, structlog.get_logger("tocsin.test")


def test_a_line_of_json_has_time_level_logger_event_and_fields() -> None:
    stream, log = logged()
    log.info("started", address="127.0.0.1:1", count=3)
    line = json.loads(stream.getvalue())
    assert {k: line[k] for k in ("level", "logger", "event", "address", "count")} == {
        "level": "info",
        "logger": "tocsin.test",
        "event": "started",
        "address": "127.0.0.1:1",
        "count": 3,
    }
    assert line["timestamp"].endswith("Z")


def test_what_libraries_log_has_the_same_form() -> None:
    stream, _ = logged()
    logging.getLogger("tocsin.worker").warning("a handler blocks: %s", "resize", extra={"seconds": 2})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["logger"], line["level"], line["seconds"]) == (
        "a handler blocks: resize",
        "tocsin.worker",
        "warning",
        2,
    )


def test_less_than_the_level_is_not_written() -> None:
    stream, log = logged(level="warning")
    log.info("no")
    logging.getLogger("x").info("no")
    assert stream.getvalue() == ""


def test_a_logger_made_before_the_configuration_follows_it() -> None:
    log = structlog.get_logger("tocsin.early")
    stream, _ = logged()
    log.info("late")
    assert json.loads(stream.getvalue())["event"] == "late"


def test_no_planted_secret_is_written_wherever_it_stands() -> None:
    stream, log = logged(secrets=(PLANTED,))
    url = f"redis://ada:{PLANTED}-other@h:1/0"
    log.info(
        f"connecting to {url}", url=url, password=PLANTED, token=PLANTED, nested={"a": [url, {"api_key": PLANTED}]}
    )
    log.warning("bare", text=f"it is {PLANTED}.", value=ValueError(PLANTED))
    logging.getLogger("redis").error("cannot reach %s", url)
    try:
        raise ConnectionError(f"refused: {url} {PLANTED}")
    except ConnectionError:
        log.exception("failed")
        logging.getLogger("lib").exception("failed")
    assert stream.getvalue().count("\n") == 5
    assert PLANTED not in stream.getvalue()
    assert "ada:***@h:1/0" in stream.getvalue()


def test_an_exception_shows_no_local_variables() -> None:
    stream = io.StringIO()
    configure_logs("info", "console", stream=stream)
    payload = {"card": "4111-1111"}
    try:
        raise KeyError("missing")
    except KeyError:
        structlog.get_logger("t").exception("failed")
    assert "KeyError" in stream.getvalue()
    assert payload["card"] not in stream.getvalue()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://ada@h", "redis://ada@h"),
        ("redis://:pw@h", "redis://:***@h"),
        ("redis://ada:p@w@h:1", "redis://ada:***@h:1"),
        ("redis://ada:p/w@h:1", "redis://ada:***@h:1"),
        (
            "redis+sentinel://:pw@a:1,b:2/main?sentinel_password=pw",
            "redis+sentinel://:***@a:1,b:2/main?sentinel_password=***",
        ),
        ("unix:///s.sock?db=0&password=pw", "unix:///s.sock?db=0&password=***"),
        ("a smtps://u:pw@h and redis://:pw@g", "a smtps://u:***@h and redis://:***@g"),
        ("nothing secret: here", "nothing secret: here"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown
