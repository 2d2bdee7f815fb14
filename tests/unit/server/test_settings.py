"""Which value of a setting holds, and what is said of a wrong one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from tocsin_server.setting_sources import Flag, SettingsError, load, secrets_of, without
from tocsin_server.setting_types import duration, show_duration
from tocsin_server.settings import Settings


def settings(*flags: Flag, config: Path | None = None, **environ: str) -> Settings:
    return load(flags, environ, config).settings


def refused(*flags: Flag, config: Path | None = None, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as error:
        load(flags, environ, config)
    assert all("\n" not in line for line in error.value.lines)
    return error.value.lines


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
    sources = {origin.setting: origin.source for origin in loaded.origins}
    assert sources["listen"] == "--listen"
    assert sources["concurrency"] == "TOCSIN_CONCURRENCY"
    assert sources["tick"] == f"tick in {file}"
    assert sources["lease.duration"] == f"lease.duration in {file}"
    assert sources["drain.grace"] == "default"


def test_values_of_one_group_may_come_from_several_places(file: Path) -> None:
    file.write_text('[store]\nnamespace = "shop"\n')
    got = settings(Flag("--redis", "store.url", "redis://h"), config=file, TOCSIN_STORE__ANSWER_WITHIN="2s")
    assert got.store.namespace == "shop"
    assert got.store.address() == "redis://h"
    assert got.store.answer_within == timedelta(seconds=2)


def test_nothing_said_is_the_embedded_store() -> None:
    assert settings().store.embedded


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"QUEUE_PROVIDER": "redis"}, "redis://localhost:6379/0"),
        ({"QUEUE_PROVIDER": "bull"}, "redis://localhost:6379/0"),
        ({"REDIS_HOST": "r.example"}, "redis://r.example:6379/0"),
        ({"REDIS_HOST": "::1", "REDIS_PORT": "7"}, "redis://[::1]:7/0"),
        ({"REDIS_PORT": "7000", "REDIS_DB": "3"}, "redis://localhost:7000/3"),
        ({"REDIS_HOST": "h", "REDIS_PASSWORD": "p@s/s:w"}, "redis://:p%40s%2Fs%3Aw@h:6379/0"),
        ({"REDIS_URL": "rediss://h:1/2", "REDIS_HOST": "other"}, "rediss://h:1/2"),
        ({"REDIS_URL": "redis://old", "TOCSIN_STORE__URL": "redis://new"}, "redis://new"),
        ({"REDIS_HOST": "r", "REDIS_PASSWORD": ""}, "redis://r:6379/0"),
        ({"REDIS_HOST": "r", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "redis://r:6379/0"),  # Kubernetes sets it
    ],
)
def test_the_variables_of_the_origin_keep_working(environ: dict[str, str], address: str) -> None:
    store = settings(**environ).store
    assert not store.embedded
    assert store.address() == address


@pytest.mark.parametrize("provider", ["mongo", "agenda"])
def test_mongo_is_refused_as_not_in_this_version(provider: str) -> None:
    [line] = refused(QUEUE_PROVIDER=provider)
    assert (
        line == f"QUEUE_PROVIDER: {provider} is not in this version; use redis, or leave it out for the embedded store"
    )


def test_an_unknown_key_of_the_file_is_refused_and_the_near_one_named(file: Path) -> None:
    file.write_text('[lease]\nduratoin = "1m"\n')
    [line] = refused(config=file)
    assert line == f"lease.duratoin in {file}: there is no such setting; did you mean lease.duration?"


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


def test_secrets_are_not_in_what_is_shown_nor_in_what_is_printed() -> None:
    planted = "s3cr3t-planted"
    loaded = load(
        [],
        {
            "REDIS_URL": f"redis://ada:{planted}@h:1/0",
            "REDIS_PASSWORD": f"://{planted}/@",
            "TOCSIN_MAIL__TRANSPORT": f"smtp://bob:{planted}@h",
        },
    )
    shown = {origin.setting: origin.shown for origin in loaded.origins}
    assert shown["store.url"] == "redis://ada:***@h:1/0"
    assert shown["mail.transport"] == "smtp://bob:***@h"
    assert planted not in repr(loaded) + str(loaded.settings) + loaded.settings.model_dump_json()


def test_a_wrong_secret_is_not_repeated() -> None:
    planted = "s3cr3t-planted"
    lines = refused(REDIS_PORT=planted, TOCSIN_STORE__PROVIDER="embedded", REDIS_URL=f"redis://:{planted}@h")
    assert planted not in "".join(lines)


def test_all_passwords_are_known_to_who_must_hide_them() -> None:
    got = settings(
        REDIS_URL="redis://ada:one%2F1@h", REDIS_PASSWORD="two22", TOCSIN_MAIL__TRANSPORT="smtp://bob:three@h"
    )
    assert set(secrets_of(got)) == {"one%2F1", "one/1", "two22", "three"}


def test_a_commands_own_defaults_go_before_the_settings_and_after_all_else(file: Path) -> None:
    own = [Flag("tocsin dev", "tick", "5s"), Flag("tocsin dev", "drain.grace", "5s")]
    got = load([], {}, file, own).settings
    assert (got.tick, got.drain.grace) == (timedelta(seconds=2), timedelta(seconds=5))


def test_the_variables_of_a_group_can_be_left_out() -> None:
    environ = {"REDIS_URL": "a", "TOCSIN_STORE__NAMESPACE": "b", "QUEUE_PROVIDER": "c", "TOCSIN_TICK": "1s"}
    assert without(environ, "store") == {"TOCSIN_TICK": "1s"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().listen = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("45s", timedelta(seconds=45)),
        ("2m", timedelta(minutes=2)),
        ("1h", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5s", timedelta(milliseconds=1500)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_written_with_their_unit(text: str, span: timedelta) -> None:
    assert duration(text) == span
    assert duration(show_duration(span)) == span


@pytest.mark.parametrize("text", ["", "45", "s", "-1s", "1 s", "1y", "1s2", "45sx", 45, None])
def test_other_ways_to_write_a_duration_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="with its unit"):
        duration(text)
