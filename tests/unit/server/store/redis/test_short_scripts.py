"""Short scripts: without what few queues have, and harmless where that is needed after all."""

from __future__ import annotations

import re
import secrets
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from contract.builders import HOUR, MINUTE, a_draft, good
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from support.redis_servers import ServerProcess
from support.source_tree import LUA
from tocsin_server.domain.conditions import Conditions
from tocsin_server.domain.lease import AttemptOutcome, Claimed, Ending, Extension
from tocsin_server.domain.logs import LogLine
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.redis.arguments import add_arguments
from tocsin_server.store.redis.connection.connection import RedisConnection
from tocsin_server.store.redis.records import draft_arguments
from tocsin_server.store.redis.script_text import SHORTENED, WHOLE_IS_NEEDED, source
from tocsin_server.store.redis.store import RedisStore

CONSTANTS: dict[str, int | str] = {"EVENTS_MAX": 100, "MAX_CRASHES": 3, "MANUAL": 0, "CLOCK": ""}
WITH_KEY = Conditions(limit_key="k")


@dataclass
class Sent:
    """Scripts that a store sent, by the name of their text, in order; what of them was too short."""

    names: list[str] = field(default_factory=list)
    store: RedisStore = field(repr=False, kw_only=True)

    def taken(self) -> list[str]:
        names, self.names[:] = list(self.names), []
        return names


@pytest.fixture
async def sent(valkey: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sent]:
    store = RedisStore(RedisConnection(valkey.url), "t")
    await store.open()
    found = Sent(store=store)
    inner = store._scripts._send

    async def send(name: str, key: str, arguments: Any) -> Any:
        found.names.append(name)
        return await inner(name, key, arguments)

    monkeypatch.setattr(store._scripts, "_send", send)
    yield found
    await store.close()


async def claimed(store: RedisStore) -> list[Claimed]:
    claim = await store.claim("q", {"t": 10}, 10, lease=MINUTE, request=secrets.token_bytes(8))
    return list(claim.claimed)


@pytest.mark.parametrize("name", sorted(SHORTENED))
def test_a_short_script_calls_nothing_that_is_rare_unless_it_has_said_so(name: str) -> None:
    text = source(name, CONSTANTS, short=True)
    rare = {
        function
        for file in [*(LUA / "lib").glob("*.lua"), LUA / f"{name}.lua"]
        for function in re.findall(r"^--- @rare\nlocal function (\w+)", file.read_text(), re.MULTILINE)
    }
    assert rare
    assert not rare & set(re.findall(r"^local function (\w+)", text, re.MULTILINE))
    assert len(text) < 0.9 * len(source(name, CONSTANTS))


async def test_plain_jobs_need_short_scripts_alone(sent: Sent) -> None:
    store = sent.store
    await store.add([a_draft(), a_draft()])
    jobs = await claimed(store)
    await store.extend([Extension(jobs[0].lease, (0.5, "half"))], MINUTE)
    await store.finish([AttemptOutcome(one.lease, Ending.COMPLETED) for one in jobs])
    assert sent.taken() == [f"{name} short" for name in ("add", "claim", "extend", "finish")]


async def test_what_writes_before_it_can_know_is_sent_whole(sent: Sent) -> None:
    store = sent.store
    await store.add([a_draft("an id of its own")])
    assert sent.taken() == ["add"]
    [job] = await claimed(store)
    sent.taken()
    await store.extend([Extension(job.lease, log=(LogLine(2, "line"),))], MINUTE)
    assert sent.taken() == ["extend"]


async def test_a_queue_with_a_job_that_has_conditions_has_whole_scripts_from_then_on(sent: Sent) -> None:
    store = sent.store
    await store.add([a_draft(conditions=WITH_KEY)])
    assert sent.taken() == ["add"]
    [job] = await claimed(store)
    assert sent.taken() == ["claim short", "claim"]
    await store.finish([AttemptOutcome(job.lease, Ending.COMPLETED)])
    await store.add([a_draft()])
    assert sent.taken() == ["finish", "add"]
    await store.add([a_draft(queue="another")])
    assert sent.taken() == ["add short"]


async def test_a_claim_that_is_asked_again_is_sent_whole_and_the_next_ones_are_not(sent: Sent) -> None:
    store, request = sent.store, secrets.token_bytes(8)
    await store.add([a_draft()])
    first = await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=request)
    again = await store.claim("q", {"t": 1}, 1, lease=MINUTE, request=request, repeated=True)
    assert again.claimed == first.claimed
    await claimed(store)
    assert sent.taken() == ["add short", "claim short", "claim", "claim short"]


async def test_the_short_way_of_add_and_claim_finds_out_too(sent: Sent) -> None:
    store = sent.store
    await store.add([a_draft(conditions=WITH_KEY, when=HOUR)])
    await store.add([a_draft(conditions=WITH_KEY)])
    sent.taken()
    added, claim = await store.add_and_claim([a_draft()], {"t": 5}, 5, lease=MINUTE, request=secrets.token_bytes(8))
    assert len(list(map(good, added))) == 1
    claimed_now = good(claim)
    assert len(claimed_now.claimed) == 2


def contents(redis: Redis) -> Mapping[bytes, bytes]:
    return {key: redis.dump(key) or b"" for key in redis.scan_iter()}


async def changes_nothing(valkey: ServerProcess, store: RedisStore, name: str, *arguments: Any) -> None:
    """The short script gives up, and all stands as it stood."""
    reader = Redis(unix_socket_path=str(valkey.socket))
    before = contents(reader)
    text = source(name, store._scripts._constants, short=True)
    async with AsyncRedis(unix_socket_path=str(valkey.socket)) as raw:
        with pytest.raises(Exception, match=f"^{WHOLE_IS_NEEDED}"):
            await raw.eval(text, 1, "t:{q}", *arguments)
    assert contents(reader) == before
    reader.close()


@pytest.mark.parametrize("name", ["claim", "finish", "extend"])
async def test_a_script_that_is_too_short_has_changed_nothing(valkey: ServerProcess, sent: Sent, name: str) -> None:
    store = sent.store
    plain, keyed = a_draft(), a_draft(conditions=WITH_KEY)
    await store.add([plain, keyed, plain])
    arguments: list[Any] = [10, 60_000, secrets.token_bytes(8), "0", "t", 10]
    if name != "claim":
        jobs = await claimed(store)
        arguments = ["60000"] if name == "extend" else []
        for one in jobs:
            arguments += [one.lease.token, *(("COMPLETED", "", "-1") if name == "finish" else ("", ""))]
    await changes_nothing(valkey, store, name, *arguments)


async def test_a_short_add_takes_no_numbers_of_a_queue_with_limits(valkey: ServerProcess, sent: Sent) -> None:
    limited = QueueSettings(limits=(Limit("all", LimitScope.QUEUE, max_active=1),))
    await sent.store.put_settings("q", limited, paused=False)
    await sent.store.add([a_draft("a")])
    arguments = add_arguments(draft_arguments([a_draft(), a_draft()]))
    await changes_nothing(valkey, sent.store, "add", *arguments)


async def test_a_short_claim_leaves_what_earlier_attempts_said_and_what_stands_wrongly(
    valkey: ServerProcess, sent: Sent
) -> None:
    store = sent.store
    await store.add([a_draft(), a_draft(conditions=WITH_KEY)])
    jobs = await claimed(store)
    await store.extend([Extension(one.lease, (0.5, "half")) for one in jobs], MINUTE)
    await store.finish([AttemptOutcome(one.lease, Ending.RELEASED) for one in jobs])
    with Redis(unix_socket_path=str(valkey.socket)) as raw:
        nobody = struct.pack(">QI", 0, 7)  # a member of no job, before the others
        raw.zadd("t:{q}:wt", {nobody: 0})
    await changes_nothing(valkey, store, "claim", 10, 60_000, secrets.token_bytes(8), "0", "t", 10)


@pytest.mark.parametrize("types", [("t", 10), ("another", 10)])
@pytest.mark.parametrize("paused", [True, False])
async def test_a_short_claim_leaves_what_is_due_and_stands_wrongly(
    valkey: ServerProcess, sent: Sent, types: tuple[str, int], paused: bool
) -> None:
    store = sent.store
    await store.put_settings("q", QueueSettings(), paused=paused)
    await store.add([a_draft(when=MINUTE), a_draft(conditions=WITH_KEY, when=MINUTE)])
    with Redis(unix_socket_path=str(valkey.socket)) as raw:
        for member in (b"\0\0\0\0\0\7", *raw.zrange("t:{q}:s", 0, -1)):
            raw.zadd("t:{q}:s", {member: 1})
    await changes_nothing(valkey, store, "claim", 10, 60_000, secrets.token_bytes(8), "0", *types)


async def test_keys_with_whole_scripts_are_not_remembered_without_end(
    sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tocsin_server.store.redis.scripts._MOST_KNOWN", 3)
    for number in range(7):
        queue = f"q{number}"
        await sent.store.add([a_draft(queue=queue, conditions=WITH_KEY)])
        await sent.store.claim(queue, {"t": 1}, 1, lease=timedelta(seconds=9), request=secrets.token_bytes(8))
    assert len(sent.store._scripts._whole) <= 3
