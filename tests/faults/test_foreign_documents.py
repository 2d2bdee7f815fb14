"""The default collection is the one that a live Agenda uses: what is there and not Tocsin's is left as it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from support import node_tools
from support.mongo_servers import DATABASE, MongoServer
from support.servers import Server

SCRIPT = Path(__file__).parents[1] / "support/node/agenda_writes.mjs"
#: The server's own.
_NOT_USERS = {"local", "admin", "config"}

Launch = Callable[..., Server]


@pytest.fixture(scope="module")
def _own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """Nobody but these tests writes to it."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    yield server
    server.stop()


@pytest.fixture
def mongo(_own: MongoServer) -> Iterator[MongoServer]:
    """Nothing stands in the database of its address, nor is left there."""
    yield _own
    with _own.client() as client:
        client.drop_database(DATABASE)


@pytest.fixture(params=["5", "6"], ids=["agenda 5", "agenda 6"])
def agendas(request: pytest.FixtureRequest, mongo: MongoServer, tmp_path: Path, npm_packages: Path) -> MongoServer:
    """A server with jobs in `agenda_jobs` that Agenda itself, by its own driver, has written."""
    (tmp_path / "node_modules").symlink_to(npm_packages)
    (tmp_path / SCRIPT.name).write_text(SCRIPT.read_text())
    command = [node_tools.node(), str(tmp_path / SCRIPT.name), request.param, mongo.url, "agenda_jobs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return mongo


def everything(server: MongoServer) -> Mapping[str, Any]:
    """All databases: their collections with options and indexes, and each document byte for byte."""
    found: dict[str, Any] = {}
    with MongoClient[RawBSONDocument](server.url, document_class=RawBSONDocument) as client:
        for name in sorted(set(client.list_database_names()) - _NOT_USERS):
            for collection in client[name].list_collections():
                one = client[name][str(collection["name"])]
                indexes = list(one.list_indexes())
                documents = [document.raw for document in one.find()]
                found[one.full_name] = (dict(collection), indexes, documents)
    return found


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """`launch(mongo, **env)`: a `tocsin serve` with QUEUE_PROVIDER=mongo, not waited for."""
    servers: list[Server] = []

    def launched(mongo: MongoServer, **env: str) -> Server:
        chosen = {"QUEUE_PROVIDER": "mongo", "MONGODB_URL": mongo.url, **env}
        servers.append(Server(tmp_path, env=chosen))
        return servers[-1].launch()

    yield launched
    for server in servers:
        server.kill()


def refused(server: Server) -> str:
    """The one line with which it ended, by exit code 2."""
    assert server.wait() == 2, server.said()
    [line] = server.said().splitlines()
    return line


def test_a_server_on_agendas_jobs_ends_with_both_ways_out_and_changes_nothing(
    agendas: MongoServer, launch: Launch
) -> None:
    before = everything(agendas)
    assert len(before[f"{DATABASE}.agenda_jobs"][2]) == 4

    line = refused(launch(agendas))

    assert "agenda_jobs" in line
    assert "QUEUE_COLLECTION" in line
    assert "tocsin migrate --from agenda" in line
    assert "`tocsin migrate --from agenda`" in line
    assert everything(agendas) == before


def test_doctor_on_agendas_jobs_says_the_same_and_changes_nothing(agendas: MongoServer, tmp_path: Path) -> None:
    before = everything(agendas)
    done = subprocess.run(
        [sys.executable, "-m", "tocsin_server", "doctor"],
        env={"PATH": os.environ["PATH"], "QUEUE_PROVIDER": "mongo", "MONGODB_URL": agendas.url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^ *MEND  store.*QUEUE_COLLECTION", done.stdout, re.M), done.stdout
    assert everything(agendas) == before


def test_the_first_way_out_serves_beside_agendas_jobs(agendas: MongoServer, launch: Launch) -> None:
    before = everything(agendas)
    server = launch(agendas, QUEUE_COLLECTION="tocsin_jobs")
    server.wait_health(1)
    assert server.stop() == 0
    after = everything(agendas)
    assert {name: held for name, held in after.items() if name in before} == before
    ours = f"{DATABASE}.tocsin_jobs"
    assert [name for name in after if name not in before and name != ours and not name.startswith(f"{ours}.")] == []


@pytest.mark.parametrize(
    "document",
    [
        {"name": "send email", "nextRunAt": None},
        {"_id": "default/a", "queue": "default", "id": "a"},
        {"_id": 1},
        {},
    ],
    ids=["like agenda's", "half of a job of ours", "a number", "nothing"],
)
def test_one_foreign_document_is_enough(mongo: MongoServer, launch: Launch, document: dict[str, Any]) -> None:
    with mongo.client() as client:
        client[DATABASE]["agenda_jobs"].insert_one(document)
    before = everything(mongo)
    assert "QUEUE_COLLECTION" in refused(launch(mongo))
    assert everything(mongo) == before


def test_a_foreign_document_among_jobs_of_ours_is_seen_at_the_next_start(mongo: MongoServer, launch: Launch) -> None:
    server = launch(mongo)
    server.wait_health(1)
    assert server.stop() == 0
    with mongo.client() as client:
        client[DATABASE]["agenda_jobs"].insert_one({"name": "send email"})
    before = everything(mongo)
    assert "QUEUE_COLLECTION" in refused(launch(mongo))
    assert everything(mongo) == before


def test_an_empty_collection_is_anybodys(mongo: MongoServer, launch: Launch) -> None:
    with mongo.client() as client:
        client[DATABASE].create_collection("agenda_jobs")
    server = launch(mongo)
    server.wait_health(1)
    assert server.stop() == 0
