"""The variables that a queue module was set by: the same names, the same defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from pymongo import MongoClient
from redis import AuthenticationError, Redis
from support.mongo_backend import MongoBackend
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import Client

from integration.from_a_queue_module.lines import Lines

PASSWORD = "s3cret-pw"
#: The addresses of the page and of nobody.
NOWHERE = {"redis.internal": "redis.invalid", "mongo.internal": "mongo.invalid"}
#: `tocsin doctor` waits no longer for a store that does not answer.
HASTY = {"TOCSIN_STORE__ANSWER_WITHIN": "300ms"}

StartWith = Callable[..., Server]


@pytest.fixture
def start_with(tmp_path: Path) -> Iterator[StartWith]:
    """`start_with(*flags, REDIS_HOST=...)`: a server with these variables and no others; killed at the end."""
    servers: list[Server] = []

    def start(*flags: str, **env: str) -> Server:
        servers.append(Server(tmp_path / "server", flags, env))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


def keep_a_job(server: Server) -> str:
    """Schedule a job that stays; the provider of the store in which it is."""
    with Client(server.address) as client:
        client.schedule("later", delay=3600)
        info = client.server_info()
        return "embedded" if info.store_embedded else info.provider


def refusal(folder: Path, env: Mapping[str, str]) -> str:
    """What a server with these variables says, which does not start and exits 2."""
    server = Server(folder / "refused", (), env).launch()
    try:
        assert server.wait(20) == 2, server.said()
    finally:
        server.kill()
    return server.said()


def test_provider_redis(lines: Lines, redis: RedisBackend, start_with: StartWith) -> None:
    address = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port), "MONGODB_URL": "mongodb://mongo.invalid"}
    assert keep_a_job(start_with(**lines.variables(), **address)) == "redis"


def test_provider_mongo(lines: Lines, mongo_database: MongoBackend, start_with: StartWith) -> None:
    address = {"MONGODB_URL": mongo_database.url, "REDIS_HOST": "redis.invalid"}
    assert keep_a_job(start_with(**lines.variables(), **address)) == "mongo"


def test_redis_host_and_port(lines: Lines, redis: RedisBackend, start_with: StartWith) -> None:
    env = lines.variables({"redis.internal": "127.0.0.1", "6379": str(redis.port)})
    assert keep_a_job(start_with(**env)) == "redis"
    assert list(redis.client.scan_iter("tocsin*")) != []


def test_redis_password(lines: Lines, redis: RedisBackend, start_with: StartWith) -> None:
    redis.client.config_set("requirepass", PASSWORD)
    with pytest.raises(AuthenticationError), Redis(port=redis.port) as nobody:
        nobody.ping()
    env = lines.variables({"=PASSWORD": f"={PASSWORD}"})
    assert keep_a_job(start_with(**env, REDIS_PORT=str(redis.port))) == "redis"


def test_redis_db(lines: Lines, redis: RedisBackend, start_with: StartWith) -> None:
    assert keep_a_job(start_with(**lines.variables(), REDIS_PORT=str(redis.port))) == "redis"
    assert set(redis.client.info("keyspace")) == {"db3"}


def test_mongodb_url(lines: Lines, mongo_database: MongoBackend, start_with: StartWith) -> None:
    env = lines.variables({"mongodb://mongo.internal:27017/shop": mongo_database.url})
    assert keep_a_job(start_with(**env)) == "mongo"
    assert documents(mongo_database, "agenda_jobs") == 1


def test_queue_collection(lines: Lines, mongo_database: MongoBackend, start_with: StartWith, tmp_path: Path) -> None:
    env = {"MONGODB_URL": mongo_database.url, **lines.variables()}
    with MongoClient[dict[str, object]](mongo_database.url) as mongo:
        agenda = mongo.get_default_database()["agenda_jobs"]
        agenda.insert_one({"name": "send mail", "data": {}, "type": "normal", "nextRunAt": None})
    assert keep_a_job(start_with(**env)) == "mongo"
    assert (documents(mongo_database, "jobs"), documents(mongo_database, "agenda_jobs")) == (1, 1)

    del env["QUEUE_COLLECTION"]
    assert "QUEUE_COLLECTION" in refusal(tmp_path, env)
    assert documents(mongo_database, "agenda_jobs") == 1


def documents(database: MongoBackend, collection: str) -> int:
    with MongoClient[dict[str, object]](database.url) as mongo:
        return mongo.get_default_database()[collection].count_documents({})


def test_defaults(lines: Lines) -> None:
    # Whether there is a store at these addresses, and so the exit code, is this machine's affair.
    bull = lines.shell(exits=(0, 1), env=HASTY)
    assert "store.host localhost default store.port 6379 default" in bull
    assert "store.db 0 default" in bull
    agenda = lines.shell(exits=(0, 1), env=HASTY)
    assert "store.mongodb_url mongodb://localhost:27017/tocsin default store.collection agenda_jobs default" in agenda


def test_switch(lines: Lines) -> None:
    said = lines.shell(exits=1, swap=NOWHERE, env=HASTY)
    assert "MEND store: mongodb://mongo.invalid:27017/shop, collection agenda_jobs: " in said
    assert "store.host redis.invalid REDIS_HOST (not used: QUEUE_PROVIDER says mongo)" in said


def test_nothing_set(lines: Lines, start_with: StartWith, tmp_path: Path) -> None:
    server = start_with(*lines.flags())
    assert keep_a_job(server) == "embedded"
    assert (server.folder / ".tocsin").is_dir()
    assert server.stop() == 0
