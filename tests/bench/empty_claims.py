"""Empty claims: what the short script costs Redis beside the whole one, which is what short ones are there for."""

from __future__ import annotations

import statistics
from datetime import timedelta
from pathlib import Path

from redis import Redis
from support.redis_servers import VALKEY, ServerProcess
from tocsin_server.store.redis.arguments import claim_arguments
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.keys import Keys
from tocsin_server.store.redis.script_text import source
from tocsin_server.store.redis.scripts import Scripts

from bench.herd import Check

_ROUNDS = 15  # of both in turns
_AT_A_TIME = 1_000  # calls, sent together


def empty_claims(folder: Path, calls: int) -> list[Check]:
    """Run it; `calls` a round of each script, by what Redis itself says of them."""
    folder.mkdir(parents=True)
    server = ServerProcess(VALKEY, folder, "--port", "0")
    try:
        with Redis(unix_socket_path=str(server.socket)) as redis:
            return _measured(redis, server.url, calls)
    finally:
        server.stop()


def _measured(redis: Redis, url: str, calls: int) -> list[Check]:
    scripts = Scripts(RedisConnection(url), events_max=100_000, events_age=timedelta(hours=1))
    hashes = {short: redis.script_load(source("claim", scripts._constants, short=short)) for short in (True, False)}
    queue, asked = Keys("tocsin").root("q"), claim_arguments({"noop": 10}, 10, timedelta(minutes=1), bytes(8))
    took: dict[bool, list[float]] = {short: [] for short in hashes}
    for _ in range(_ROUNDS):
        for short, sha1 in hashes.items():
            redis.config_resetstat()
            for _ in range(calls // _AT_A_TIME):
                pipe = redis.pipeline(transaction=False)
                for _ in range(_AT_A_TIME):
                    pipe.execute_command("EVALSHA", sha1, 1, queue, *asked)
                pipe.execute()
            took[short].append(redis.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])
    short, whole = (statistics.median(took[one]) for one in (True, False))
    return [
        Check("an empty claim by the short script, median of rounds", short, 60, "µs"),
        Check("the same by the whole script", whole, 80, "µs"),
        Check("the one against the other", short / whole, 0.85, "times"),
    ]
