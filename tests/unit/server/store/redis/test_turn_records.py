"""Where heads of rows stand, where keys take turns: what T, t and G say of it fits (lua/lib/turns.lua)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from contract.builders import HOUR, MINUTE, a_draft, a_job, failed, good, wish
from redis import Redis
from support.redis_servers import ServerProcess
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.store import RedisStore

FAIR = QueueSettings(fair_turns=True)
ONE_A_KEY = QueueSettings(fair_turns=True, limits=(Limit("one", LimitScope.KEY, max_active=1),))


@pytest.fixture
async def store(valkey: ServerProcess) -> AsyncIterator[RedisStore]:
    store = RedisStore(RedisConnection(valkey.url), "t")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def redis(valkey: ServerProcess) -> Redis:
    return Redis.from_url(valkey.url)


def tags(redis: Redis) -> dict[bytes, tuple[int, bytes, bytes]]:
    """By key: its tag, when that was given, and the type that T names; also where the version before wrote it."""
    return {key: _read(said) for key, said in redis.hgetall("t:{q}:T").items()}


def _read(said: bytes) -> tuple[int, bytes, bytes]:
    if said[0]:
        tag, given = map(int, said.split())
        return tag, given.to_bytes(6, "big"), b""
    return int.from_bytes(said[1:8], "big"), said[8:14], said[14:]


def standing(redis: Redis) -> set[tuple[bytes, bytes]]:
    """Type and member of all heads, as t and T say."""
    found, named = set(), tags(redis)
    for name in redis.scan_iter("t:{q}:t*"):
        key = name.removeprefix(b"t:{q}:t")
        for type_, stands in redis.hgetall(name).items():
            if stands.startswith(b"O"):
                [head] = redis.zrange(b"t:{q}:w%b:%b" % (type_, key), 0, 0)
                given = named[key][1] if named[key][2] == type_ else stands[1:]
                found.add((type_, given + head))
    return found


def heads(redis: Redis) -> set[tuple[bytes, bytes]]:
    """The same, as they stand."""
    return {(type_, member) for type_ in (b"t", b"u", b"v") for member in redis.zrange(b"t:{q}:G" + type_, 0, -1)}


def as_before(redis: Redis) -> None:
    """Says what T, t and G say as the version before said it."""
    named = tags(redis)
    for key, (tag, given, type_) in named.items():
        if type_ and (redis.hget(b"t:{q}:t" + key, type_) or b"").startswith(b"O"):
            redis.hset(b"t:{q}:t" + key, type_, b"O" + given)
        redis.hset("t:{q}:T", key, b"%d %d" % (tag, int.from_bytes(given, "big")))


class Life:
    """Keys come and go, with several types; a store of its own says who runs."""

    def __init__(self, store: RedisStore, chance: random.Random) -> None:
        self._store, self._chance = store, chance
        self._number, self._waiting, self._runs = 0, list[str](), list[Claimed]()

    async def add(self, count: int) -> None:
        """Some jobs, now and then of a priority."""
        names = [f"j{self._number + n}" for n in range(count)]
        self._number += count
        drafts = [
            a_draft(
                name,
                type=self._chance.choice("tuv"),
                priority=self._chance.choice([0, 0, 0, 1]),
                conditions=Conditions(self._chance.choice("abcd"), self._chance.choice([1, 1, 3])),
            )
            for name in names
        ]
        good(await self._store.add(drafts))
        self._waiting += names

    async def claim(self) -> list[str]:
        """Some jobs of some types; their keys."""
        types = dict.fromkeys(self._chance.sample("tuv", self._chance.randint(1, 3)), 9)
        limit, request = self._chance.randint(1, 6), self._chance.randbytes(8)
        claim = await self._store.claim("q", types, limit, lease=MINUTE, request=request)
        self._runs += claim.claimed
        names = {one.job.job_id for one in claim.claimed}
        assert len(names) == len(claim.claimed)
        self._waiting = [name for name in self._waiting if name not in names]
        return [one.job.spec.conditions.limit_key for one in claim.claimed]

    async def step(self) -> None:
        """Anything."""
        what = self._chance.random()
        if what < 0.3:
            await self.add(self._chance.randint(1, 5))
        elif what < 0.7:
            await self.claim()
        elif what < 0.8 and self._waiting:
            name = self._waiting.pop(self._chance.randrange(len(self._waiting)))
            await self._store.cancel("q", [wish(name)])
        else:
            for one in self._runs:
                failed = self._chance.random() < 0.2
                ending = Ending.RELEASED if failed else Ending.COMPLETED
                good(await self._store.finish([AttemptOutcome(one.lease, ending)]))
                self._waiting += [one.job.job_id] if failed else []
            self._runs.clear()


@pytest.mark.parametrize("settings", [FAIR, ONE_A_KEY], ids=["turns", "turns and a limit"])
@pytest.mark.parametrize("seed", range(4))
async def test_heads_stand_as_it_is_said_of_them(
    store: RedisStore, redis: Redis, settings: QueueSettings, seed: int
) -> None:
    await store.put_settings("q", settings, paused=False)
    life = Life(store, random.Random(seed))
    for number in range(150):
        await life.step()
        assert heads(redis) == standing(redis), number
    for _ in range(50):
        await life.claim()
        assert heads(redis) == standing(redis)


@pytest.mark.parametrize("settings", [FAIR, ONE_A_KEY], ids=["turns", "turns and a limit"])
async def test_turns_that_the_version_before_wrote_go_on(
    store: RedisStore, redis: Redis, settings: QueueSettings
) -> None:
    """The same happens to two queues, of which one is rewritten in between: the same keys have their turns."""
    begun: list[list[list[str]]] = []
    for rewritten in (False, True):
        redis.flushall()
        await store.put_settings("q", settings, paused=False)
        life = Life(store, random.Random(7))
        await life.add(60)
        seen = []
        for _ in range(120):
            seen.append(await life.claim())
            await life.step()
            if rewritten:
                as_before(redis)
        begun.append(seen)
    assert begun[0] == begun[1]
    assert sum(map(len, begun[0])) > 60


async def test_a_turn_with_one_type_writes_nothing_but_its_key_s_tag(store: RedisStore, redis: Redis) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await store.add([a_draft(conditions=Conditions(f"k{n % 50}")) for n in range(150)])
    request = bytes(range(8))
    await store.claim("q", {"t": 50}, 50, lease=HOUR, request=request)
    assert {type_ for _, _, type_ in tags(redis).values()} == {b"t"}
    redis.config_resetstat()
    claim = await store.claim("q", {"t": 50}, 50, lease=timedelta(hours=2), request=request[::-1])
    assert len(claim.claimed) == 50
    calls = {name: one["calls"] for name, one in redis.info("commandstats").items()}
    assert calls["cmdstat_hset"] <= 2
    assert "cmdstat_hget" not in calls


async def test_the_retry_that_keeps_its_keys_place_is_ahead_of_older_jobs(store: RedisStore) -> None:
    await store.put_settings("q", replace(ONE_A_KEY, priority_ageing=MINUTE), paused=False)
    [_] = await store.add([a_draft("first", conditions=Conditions("k"))])
    claim = await store.claim("q", {"t": 1}, 1, lease=HOUR, request=b"12345678")
    [attempt] = claim.claimed
    await store.put(
        [a_job(name, priority=n, conditions=Conditions("k")) for n, name in enumerate(("old", "older"))], over=False
    )
    good((await store.finish([failed(attempt, retry_in=timedelta(0))]))[0])
    outlooks = await store.explain("q", ["first", "older", "old"])
    assert [one.ahead for one in outlooks if one is not None] == [0, 1, 2]
