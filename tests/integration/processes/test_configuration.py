"""`tocsin serve` and `tocsin doctor` take their settings from flags, variables and a file, and say what is wrong."""

from __future__ import annotations

import json
import os
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.mongo_servers import DATABASE, MongoServer
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client

PLANTED = "s3cr3t-planted"
Tocsin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tocsin(tmp_path: Path) -> Tocsin:
    """`tocsin("doctor", "--json", REDIS_HOST="r")`: one command, with these variables and no others."""

    def tocsin(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tocsin_server", *arguments]
        environment = {"PATH": os.environ["PATH"], **environ}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return tocsin


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoServer]:
    """An empty server of this test's own that speaks MongoDB's protocol."""
    server = MongoServer(tmp_path / "mongo")
    yield server
    server.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """`serve(REDIS_HOST="r")`: a server with these variables; killed at the end."""
    servers: list[Server] = []

    def serve(*flags: str, **environ: str) -> Server:
        servers.append(Server(tmp_path, flags, environ, program=(sys.executable, "-m", "tocsin_server")))
        return servers[-1].start()

    yield serve
    for server in servers:
        server.kill()


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What `doctor --json` says of each setting."""
    return {setting["setting"]: setting for setting in json.loads(done.stdout)["settings"]}


def test_the_origins_variables_for_both_stores_serve_from_the_one_that_the_provider_names(
    serve: Callable[..., Server], redis: RedisBackend
) -> None:
    server = serve(
        QUEUE_PROVIDER="bull",
        REDIS_HOST="127.0.0.1",
        REDIS_PORT=str(redis.port),
        REDIS_DB="3",
        MONGODB_URL="mongodb://mongo.invalid/shop",
        QUEUE_COLLECTION="jobs",
    )
    with Client(server.address) as client:
        assert not client.server_info().store_embedded
        client.schedule("later", {}, delay=3600)
    assert server.stop() == 0
    assert redis.client.info("keyspace")["db3"]["keys"] > 0


def test_the_same_variables_serve_from_mongodb_when_the_provider_says_so(
    serve: Callable[..., Server], tocsin: Tocsin, mongo: MongoServer
) -> None:
    environ = {
        "QUEUE_PROVIDER": "agenda",
        "REDIS_HOST": "redis.invalid",
        "REDIS_PORT": "none",
        "MONGODB_URL": mongo.url,
        "QUEUE_COLLECTION": "jobs",
    }
    fresh = tocsin("doctor", **environ)
    assert fresh.returncode == 0, fresh.stdout + fresh.stderr
    assert f"ok    store: {mongo.url}, collection jobs: mongodb " in fresh.stdout
    assert "store.port none REDIS_PORT (not used: QUEUE_PROVIDER says mongo)" in re.sub(" +", " ", fresh.stdout)
    with mongo.client() as client:
        assert client[DATABASE].list_collection_names() == []  # doctor changes nothing

    server = serve(**environ)
    with Client(server.address) as served:
        assert served.server_info().provider == "mongo"
        served.schedule("later", {}, delay=3600)
    assert server.stop() == 0
    with mongo.client() as client:
        assert client[DATABASE]["jobs"].count_documents({}) == 1
        assert not client[DATABASE]["agenda_jobs"].count_documents({})


def test_an_address_of_mongodb_alone_is_enough_and_the_collection_is_agendas(
    serve: Callable[..., Server], mongo: MongoServer
) -> None:
    server = serve("--mongodb-url", mongo.url, REDIS_URL="redis://redis.invalid")
    with Client(server.address) as tocsin:
        tocsin.schedule("later", {}, delay=3600)
    assert server.stop() == 0
    with mongo.client() as client:
        assert client[DATABASE]["agenda_jobs"].count_documents({}) == 1


def test_flags_go_before_variables_before_the_file_and_lists_do_so_too(tocsin: Tocsin, tmp_path: Path) -> None:
    file = tmp_path / "tocsin.toml"
    file.write_text('concurrency = 1\ntick = "2s"\nqueues = ["file"]\n[retry]\nmax_attempts = 7\n')
    done = tocsin(
        *("doctor", "--json", "--config", str(file), "--concurrency", "3"),
        *("--queues", "a", "--queues", "b,c"),
        TOCSIN_CONCURRENCY="2",
        TOCSIN_TYPE_CONCURRENCY="9",
        TOCSIN_QUEUES="variable",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got = told(done)
    assert got["concurrency"] == {
        "setting": "concurrency",
        "shown": "3",
        "source": "--concurrency",
        "over": ["TOCSIN_CONCURRENCY", f"concurrency in {file}"],
        "unused": "",
    }
    assert (got["type_concurrency"]["shown"], got["type_concurrency"]["source"]) == ("9", "TOCSIN_TYPE_CONCURRENCY")
    assert (got["tick"]["shown"], got["tick"]["source"]) == ("2s", f"tick in {file}")
    assert got["retry.max_attempts"]["source"] == f"retry.max_attempts in {file}"
    assert (got["queues"]["shown"], got["queues"]["source"]) == ("a, b, c", "--queues")
    assert (got["store.provider"]["shown"], got["store.provider"]["source"]) == ("embedded", "default")


def test_lists_of_variables_hold_where_no_flag_is_given(tocsin: Tocsin) -> None:
    got = told(tocsin("doctor", "--json", TOCSIN_QUEUES="mail,images", TOCSIN_HANDLERS="json"))
    assert (got["queues"]["shown"], got["queues"]["source"]) == ("mail, images", "TOCSIN_QUEUES")
    assert (got["handlers"]["shown"], got["handlers"]["source"]) == ("json", "TOCSIN_HANDLERS")


def test_doctor_says_what_came_from_where_and_what_to_mend(tocsin: Tocsin, redis: RedisBackend) -> None:
    fine = tocsin("doctor", "--mail", "file:outbox", REDIS_PORT=str(redis.port), MONGODB_URL="", REDIS_HOST="127.0.0.1")
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert f"ok    store: redis://127.0.0.1:{redis.port}/0: " in fine.stdout
    assert "--mail" in fine.stdout

    broken = tocsin(
        "doctor",
        QUEUE_PROVIDER="redis",
        REDIS_URL=f"redis://:{PLANTED}@127.0.0.1:1",
        MONGODB_URL=f"mongodb://u:{PLANTED}@m/?tlsCertificateKeyFilePassword={PLANTED}",
    )
    assert broken.returncode == 1
    assert "MEND  store: redis://:***@127.0.0.1:1: " in broken.stdout
    assert "REDIS_URL" in broken.stdout
    assert "MONGODB_URL (not used: QUEUE_PROVIDER says redis)" in broken.stdout
    assert PLANTED not in broken.stdout + broken.stderr


def test_doctor_finds_what_the_user_of_the_store_may_not_do(tocsin: Tocsin, redis: RedisBackend) -> None:
    redis.client.execute_command("ACL", "SETUSER", "few", "on", f">{PLANTED}", "~*", "&*", "+@all", "-xadd")
    found = tocsin("doctor", REDIS_URL=f"redis://few:{PLANTED}@127.0.0.1:{redis.port}")
    assert found.returncode == 1
    assert "the store's user may not use XADD" in found.stdout
    assert PLANTED not in found.stdout


def test_doctor_finds_what_is_wrong_with_a_mongodb_and_shows_no_secret(tocsin: Tocsin, mongo: MongoServer) -> None:
    away = tocsin(
        "doctor",
        MONGODB_URL=f"mongodb://ada:{PLANTED}@127.0.0.1:1/shop?tlsCertificateKeyFilePassword={PLANTED}",
        TOCSIN_STORE__ANSWER_WITHIN="500ms",
    )
    assert away.returncode == 1, away.stdout + away.stderr
    assert "MEND  store: mongodb://ada:***@127.0.0.1:1/shop?tlsCertificateKeyFilePassword=***, coll" in away.stdout
    assert PLANTED not in away.stdout + away.stderr

    with mongo.client() as client:
        client[DATABASE]["agenda_jobs"].insert_one({"name": "send mail", "data": {}, "nextRunAt": None})
    foreign = tocsin("doctor", MONGODB_URL=mongo.url)
    assert foreign.returncode == 1
    assert "MEND  store: " in foreign.stdout
    assert "QUEUE_COLLECTION" in foreign.stdout


@pytest.mark.parametrize(
    ("command", "flags", "environ", "line"),
    [
        ("serve", [], {"TOCSIN_TICK": "45"}, "TOCSIN_TICK: write a duration with its unit"),
        ("doctor", ["--config", "missing.toml"], {}, "--config: missing.toml cannot be read"),
        ("serve", [], {"REDIS_URL": f"http://:{PLANTED}@h"}, "REDIS_URL: the store's address must begin with one of "),
        ("serve", [], {"REDIS_URL": f"redis+sentinel://:half/{PLANTED}@h/s"}, "REDIS_URL: the store's address names"),
        ("doctor", ["--redis-url", f"redis://:{PLANTED}@h:x"], {}, "--redis-url: the store's address cannot be read"),
        ("serve", [], {"MONGODB_URL": f"{PLANTED}@h"}, "MONGODB_URL: the address of a MongoDB begins with "),
        (
            "serve",
            [],
            {"REDIS_HOST": "r", "MONGODB_URL": "mongodb://m"},
            "REDIS_HOST and MONGODB_URL name two stores: ",
        ),
        ("serve", ["--redis-url", "redis://r"], {"QUEUE_PROVIDER": "mongo"}, "--redis-url: for redis only, but "),
    ],
)
def test_a_wrong_setting_ends_with_2_and_one_line_that_names_it_and_no_secret(
    tocsin: Tocsin, command: str, flags: list[str], environ: dict[str, str], line: str
) -> None:
    done = tocsin(command, *flags, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    [said] = done.stderr.splitlines()
    assert said.startswith(f"tocsin {command}: {line}")
    assert PLANTED not in said


#: Two halves of a secret, with what a password may hold between them.
BEFORE, AFTER = "Geheim", "42xyz"
NASTY = [*"'\" /@", string.printable.translate({ord(c): None for c in "/?#@:[]% \t\n\r\v\f"})]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("character", NASTY)
def test_doctor_shows_no_part_of_a_secret_whatever_characters_it_has(tocsin: Tocsin, character: str, form: str) -> None:
    secret = f"{BEFORE}{character}{AFTER}"
    outlets = {
        "TOCSIN_MAIL__TRANSPORT": f"smtp://shop:{secret}@127.0.0.1:1?starttls=never",
        "TOCSIN_SMS__URL": f"http://127.0.0.1:1/hook/{secret}?apikey={secret}&sig={secret}",
        "TOCSIN_SMS__PASSWORD": secret,
        "TOCSIN_SMS__USER": "me",
        "TOCSIN_STORE__ANSWER_WITHIN": "100ms",
        "REDIS_PASSWORD": secret,
    }
    redis = {"REDIS_URL": f"redis://ada:{secret}@127.0.0.1:1/0"}
    mongo = {"MONGODB_URL": f"mongodb://ada:{secret}@127.0.0.1:1/db?replicaSet=rs0"}
    sentinel = {"REDIS_URL": f"redis+sentinel://127.0.0.1:1/main?sentinel_password={secret}"}
    typo = {"TOCSIN_MAIL__TRANSPORT": f"smtps//shop:{secret}@h", "TOCSIN_SMS__URL": f"https://{secret}@h/x"}
    flags = ["--all"] if form == "text" else ["--json"]
    for provider, addresses in (
        ("redis", {**outlets, **redis, **mongo}),
        ("mongo", {**outlets, **redis, **mongo}),
        ("redis", {**outlets, **sentinel, **mongo, **typo}),
    ):
        done = tocsin("doctor", *flags, QUEUE_PROVIDER=provider, **addresses)
        for half in (BEFORE, AFTER):
            assert half not in done.stdout + done.stderr, done.stdout + done.stderr
        assert done.returncode in (1, 2)
        if done.returncode == 1 and form == "text":
            assert "sms: " in done.stdout
            assert "MEND  mail: " in done.stdout


@pytest.mark.parametrize("character", ["'", '"', " ", "<"])
def test_a_server_that_starts_logs_no_part_of_a_secret(tmp_path: Path, redis: RedisBackend, character: str) -> None:
    secret = f"{BEFORE}{character}{AFTER}"
    redis.client.config_set("requirepass", secret)
    environ = {
        "REDIS_URL": f"redis://:{quote(secret)}@127.0.0.1:{redis.port}/0",
        "TOCSIN_MAIL__TRANSPORT": f"smtp://shop:{secret.replace(' ', '%20')}@127.0.0.1:1?starttls=never",
        "TOCSIN_SMS__URL": f"http://127.0.0.1:1/hook/{quote(secret)}?apikey={quote(secret)}",
        "TOCSIN_LOG__LEVEL": "debug",
    }
    server = Server(tmp_path, (), environ)
    try:
        server.start()
        assert server.stop() == 0
    finally:
        server.kill()
    said = server.said(1_000_000)
    assert "serving" in said
    assert BEFORE not in said
    assert AFTER not in said


def test_a_doctor_starts_no_store_in_a_folder_that_has_none(tocsin: Tocsin, tmp_path: Path) -> None:
    done = tocsin("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    store: embedded, in .tocsin: valkey" in done.stdout
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    refused = tocsin("doctor", "--data", "file/data")
    assert refused.returncode == 1
    assert "MEND  store: embedded, in file/data: the data folder file/data cannot be used: " in refused.stdout


def test_a_login_that_is_refused_is_told_as_such(tocsin: Tocsin, redis: RedisBackend) -> None:
    redis.client.config_set("requirepass", "right")
    done = tocsin("doctor", REDIS_URL=f"redis://:wrong-pw@127.0.0.1:{redis.port}")
    assert done.returncode == 1
    assert "the store refuses the user or the password of its address" in done.stdout
    assert "cannot be reached" not in done.stdout


def test_a_sender_that_is_missing_is_a_note_of_the_doctor(tocsin: Tocsin, redis: RedisBackend) -> None:
    environment = {"REDIS_URL": redis.url, "TOCSIN_SMS__URL": "http://127.0.0.1:1", "TOCSIN_SMS__FORM": "twilio"}
    without = tocsin("doctor", "--mail", "file:out", **environment).stdout
    assert "  note  mail: no sender is set (mail.sender): reminders, and mails without `from`, fail\n" in without
    assert "  note  sms: no sender is set (sms.sender): reminders, and texts without `from`, fail\n" in without
    with_one = tocsin(
        "doctor",
        "--mail",
        "file:out",
        "--mail-from",
        "a@example.com",
        TOCSIN_SMS__SENDER="+4915112345678",
        **environment,
    ).stdout
    assert "no sender" not in with_one


def test_what_makes_forked_processes_crash_is_a_note_of_the_doctor(tocsin: Tocsin, redis: RedisBackend) -> None:
    asked = tocsin("doctor", REDIS_URL=redis.url, GRPC_ENABLE_FORK_SUPPORT="1")
    assert asked.returncode == 0
    assert "  note  forks: GRPC_ENABLE_FORK_SUPPORT=1 switches on fork handlers of gRPC that crash" in asked.stdout
    assert "forks:" not in tocsin("doctor", REDIS_URL=redis.url, GRPC_ENABLE_FORK_SUPPORT="0").stdout
    assert "forks:" not in tocsin("doctor", REDIS_URL=redis.url).stdout


def test_an_address_that_others_can_reach_is_a_note_of_the_doctor(tocsin: Tocsin, redis: RedisBackend) -> None:
    open_to_all = tocsin("doctor", "--listen", "[::]:50051", REDIS_URL=redis.url).stdout
    assert (
        "  note  listen: [::]:50051 can be reached from other machines, and whoever reaches it can read" in open_to_all
    )
    for listen in ("127.0.0.1:50051", "[::1]:50051", "localhost:50051"):
        assert "note  listen" not in tocsin("doctor", "--listen", listen, REDIS_URL=redis.url).stdout


def test_findings_come_first_the_worst_of_them_first_and_settings_nobody_gave_only_when_asked_for(
    tocsin: Tocsin,
) -> None:
    done = tocsin("doctor", "--listen", "0.0.0.0:0", "--mail", "smtp://127.0.0.1:1", TOCSIN_TICK="2 seconds")
    lines = done.stdout.splitlines()
    assert lines[0] == "Findings"
    marks = [line[2:6] for line in lines[1 : lines.index("")]]
    assert marks == sorted(marks, key=["MEND", "note", "ok  "].index)
    assert marks[0] == "MEND"
    assert any(line.startswith("  note  listen: 0.0.0.0:0 can be reached from other machines") for line in lines)
    settings = [line.split()[0] for line in lines[lines.index("") + 2 :]]
    assert {"listen", "mail.transport", "tick", "store.provider"} <= set(settings)
    assert "concurrency" not in settings
    everything = tocsin("doctor", "--all").stdout
    assert "concurrency" in everything
    assert "--all" in done.stdout
