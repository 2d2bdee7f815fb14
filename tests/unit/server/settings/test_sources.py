"""Which value of a setting holds, and what is said of a wrong one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from support.loaded_settings import refused, settings
from tocsin_server.settings import Flag, load, without


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tocsin.toml"
    path.write_text('listen = "127.0.0.1:1"\nconcurrency = 1\ntick = "2s"\n[lease]\nduration = "1m"\n')
    return path


def test_flags_go_before_environment_before_file_before_defaults(file: Path) -> None:
    loaded = load(
        [Flag("--listen", "listen", "127.0.0.1:3")],
        {"TOCSIN_LISTEN": "127.0.0.1:2", "TOCSIN_CONCURRENCY": "2", "TOCSIN_CONFIG": str(file)},
    )
    got = loaded.settings
    assert (got.listen, got.concurrency, got.tick) == ("127.0.0.1:3", 2, timedelta(seconds=2))
    assert got.lease.duration == timedelta(minutes=1)
    assert got.drain.grace == timedelta(seconds=25)
    sources = {origin.setting: (origin.source, origin.over) for origin in loaded.origins}
    assert sources["listen"] == ("--listen", ("TOCSIN_LISTEN", f"listen in {file}"))
    assert sources["concurrency"] == ("TOCSIN_CONCURRENCY", (f"concurrency in {file}",))
    assert sources["tick"] == (f"tick in {file}", ())
    assert sources["lease.duration"] == (f"lease.duration in {file}", ())
    assert sources["drain.grace"] == ("default", ())


def test_values_of_one_group_may_come_from_several_places(file: Path) -> None:
    file.write_text('[store]\nnamespace = "shop"\n[retry]\nmax_attempts = 5\nbackoff = "fixed"\n')
    got = settings(
        Flag("--redis-url", "store.url", "redis://h"),
        config=file,
        TOCSIN_STORE__ANSWER_WITHIN="2s",
        TOCSIN_RETRY__BACKOFF="exponential",
    )
    assert got.store.namespace == "shop"
    assert got.store.address() == "redis://h"
    assert got.store.answer_within == timedelta(seconds=2)
    assert (got.retry.max_attempts, got.retry.backoff) == (5, "exponential")


def test_a_commands_own_defaults_go_before_the_settings_and_after_all_else(file: Path) -> None:
    own = [Flag("tocsin dev", "tick", "5s"), Flag("tocsin dev", "drain.grace", "5s")]
    got = load([], {}, file, own).settings
    assert (got.tick, got.drain.grace) == (timedelta(seconds=2), timedelta(seconds=5))


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert settings(TOCSIN_TICK="", REDIS_URL="", MONGODB_URL="", QUEUE_PROVIDER="").store.embedded


def test_the_variables_of_a_group_can_be_left_out() -> None:
    environ = {
        "REDIS_URL": "a",
        "MONGODB_URL": "a",
        "QUEUE_COLLECTION": "a",
        "TOCSIN_STORE__NAMESPACE": "b",
        "QUEUE_PROVIDER": "c",
        "TOCSIN_TICK": "1s",
    }
    assert without(environ, "store") == {"TOCSIN_TICK": "1s"}


def test_an_unknown_key_of_the_file_is_refused_and_the_near_one_named(file: Path) -> None:
    file.write_text('[lease]\nduratoin = "1m"\n')
    [line] = refused(config=file)
    assert line == f"lease.duratoin in {file}: there is no such setting; did you mean lease.duration?"


def test_a_value_where_a_group_belongs_is_refused(file: Path) -> None:
    file.write_text('store = "redis"\n')
    [line] = refused(config=file)
    assert line.startswith(f"store in {file}: ")


def test_an_unknown_variable_is_refused_and_the_near_one_named() -> None:
    [line] = refused(TOCSIN_LISTNE="127.0.0.1:1")
    assert line == "TOCSIN_LISTNE: there is no such setting; did you mean TOCSIN_LISTEN?"


def test_variables_of_the_client_and_of_kubernetes_are_left_alone() -> None:
    settings(
        TOCSIN_ADDRESS="h:1",
        TOCSIN_SERVICE_HOST="10.0.0.1",
        TOCSIN_SERVICE_PORT_GRPC="50051",
        TOCSIN_PORT="tcp://10.0.0.1:50051",
        TOCSIN_PORT_50051_TCP_ADDR="10.0.0.1",
    )


def test_all_that_is_wrong_is_said_at_once_each_with_where_it_came_from(file: Path) -> None:
    file.write_text('tick = "45"\n')
    lines = refused(
        Flag("--concurrency", "concurrency", 0),
        config=file,
        TOCSIN_LEASE__DURATION="1",
        TOCSIN_QUEUES="good,bad name",
        TOCSIN_STORE__NAMESPACE="a b",
        REDIS_PORT="99999",
        TOCSIN_LISTEN="nowhere",
    )
    assert [line.split(":")[0] for line in lines] == [
        "TOCSIN_LISTEN",
        "TOCSIN_QUEUES, item 2",
        "--concurrency",
        f"tick in {file}",
        "REDIS_PORT",
        "TOCSIN_STORE__NAMESPACE",
        "TOCSIN_LEASE__DURATION",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing.toml", tmp_path / "broken.toml"
    broken.write_text("listen = [")
    assert refused(config=missing) == (f"--config: {missing} cannot be read: No such file or directory",)
    [line] = refused(TOCSIN_CONFIG=str(broken))
    assert line.startswith(f"TOCSIN_CONFIG: {broken} is not TOML: ")
