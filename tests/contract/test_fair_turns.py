"""Turns between keys: each gets its share, and none waits more than a round of the others."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from tocsin_server.domain.conditions import NO_CONDITIONS, Conditions
from tocsin_server.domain.explaining import Turn
from tocsin_server.domain.job import Draft
from tocsin_server.domain.lease import LimitPause
from tocsin_server.domain.queue_limits import Limit, LimitScope
from tocsin_server.domain.queues import QueueSettings
from tocsin_server.store.interface import JobStore

from contract.backdating import Backdate
from contract.builders import HOUR, a_draft, added, claimed, claimed_one, completed, failed, finished, wish

FAIR = QueueSettings(fair_turns=True)


def of(key: str, job_id: str | None = None, weight: int = 1, **words: object) -> Draft:
    conditions = Conditions(key, weight) if key else NO_CONDITIONS
    return a_draft(job_id, conditions=conditions, **words)  # type: ignore[arg-type]


async def turns(store: JobStore, count: int, *types: str) -> list[str]:
    """Whose jobs begin, one claim a job."""
    keys = []
    for _ in range(count):
        one = await claimed_one(store, types=types or ("t",))
        keys.append(one.job.spec.conditions.limit_key)
        await finished(store, completed(one))
    return keys


async def test_keys_take_turns_however_many_jobs_each_has(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("a") for _ in range(20)), *(of("b") for _ in range(3)), *(of("") for _ in range(3)))
    seen = await turns(store, 9)
    assert all(Counter(seen[at : at + 3]) == Counter(["a", "b", ""]) for at in (0, 3, 6)), seen
    assert await turns(store, 3) == ["a", "a", "a"]


async def test_one_claim_of_many_takes_turns_too(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("a") for _ in range(20)), *(of("b") for _ in range(20)), *(of("c") for _ in range(2)))
    keys = [one.job.spec.conditions.limit_key for one in await claimed(store, 12)]
    assert Counter(keys) == {"a": 5, "b": 5, "c": 2}
    assert Counter(keys[:6]) == {"a": 2, "b": 2, "c": 2}


async def test_a_key_of_weight_three_has_three_turns_in_a_round(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("a", weight=3) for _ in range(30)), *(of("b") for _ in range(30)))
    assert Counter(await turns(store, 24)) == {"a": 18, "b": 6}


async def test_priority_orders_the_jobs_of_a_key_and_not_the_keys(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, of("a", "a0"), of("a", "a1", priority=5), of("b", "b0"), of("b", "b1", priority=-1))
    order = []
    for _ in range(4):
        one = await claimed_one(store)
        order.append(one.job.job_id)
    assert [name for name in order if name[0] == "a"] == ["a1", "a0"]
    assert [name for name in order if name[0] == "b"] == ["b0", "b1"]
    assert {name[0] for name in order[:2]} == {"a", "b"}


async def test_turns_of_a_key_count_over_all_its_types(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    drafts = [of("a", type=type_) for type_ in "tu" for _ in range(10)] + [of("b", type="u") for _ in range(10)]
    await added(store, *drafts)
    assert Counter(await turns(store, 12, "t", "u")) == {"a": 6, "b": 6}


async def test_a_key_that_comes_and_goes_gains_nothing(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("steady") for _ in range(10)))
    seen: list[str] = []
    for _ in range(10):
        await added(store, of("hasty"))
        seen += await turns(store, 1)
    assert abs(seen.count("hasty") - 5) <= 1


async def test_a_key_that_a_limit_held_back_does_not_make_up_for_its_turns(movable: JobStore) -> None:
    limits = (Limit("l", LimitScope.KEY, max_active=50),)
    await movable.put_settings("q", QueueSettings(fair_turns=True, limits=limits), paused=False)
    await added(movable, *(of("late") for _ in range(9)))
    [one] = await claimed(movable, 1)
    await movable.finish([replace(failed(one), pause=LimitPause("l", HOUR))])
    await added(movable, *(of("a") for _ in range(9)), *(of("b") for _ in range(9)))
    assert Counter(await turns(movable, 8)) == {"a": 4, "b": 4}
    await movable.move_clock(await movable.ping() + HOUR)
    assert Counter(await turns(movable, 6)) == {"a": 2, "b": 2, "late": 2}


async def test_a_key_of_which_nobody_ran_a_type_does_not_make_up_for_its_turns(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("late", type="u") for _ in range(9)), *(of("a") for _ in range(9)))
    await added(store, *(of("a", type="u") for _ in range(9)))
    await turns(store, 8, "t")
    assert Counter(await turns(store, 6, "u")) == {"late": 3, "a": 3}


async def test_a_key_whose_job_comes_due_has_its_turn_before_the_next_of_another(
    store: JobStore, backdate: Backdate
) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, *(of("a", type="u") for _ in range(3)), of("x"))
    await claimed(store, 2, types=("t", "u"))
    await added(store, of("x"))
    await claimed(store, types=("t",))
    [later] = await added(store, of("b", when=HOUR))
    backdate.due(later, by=HOUR)
    keys = [one.job.spec.conditions.limit_key for one in await claimed(store, types=("t", "u"))]
    assert keys == ["a", "b", "a"]


async def test_a_key_has_its_turn_with_one_type_though_it_has_no_more_of_another(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, of("a"), of("b", type="u"), of("a"), of("b"))
    assert await turns(store, 1, "u") == ["b"]
    assert await turns(store, 2, "t", "u") == ["a", "b"]


async def test_a_key_has_its_turns_in_order_with_several_types(movable: JobStore) -> None:
    await movable.put_settings("q", FAIR, paused=False)
    await added(movable, *(of("a") for _ in range(3)), of("a", type="u"), of("b", "b", when=HOUR))
    assert len(await claimed(movable, 2, types=("t", "u"))) == 2
    await movable.move_clock(await movable.ping() + HOUR)
    keys = [one.job.spec.conditions.limit_key for one in await claimed(movable, types=("t", "u"))]
    assert keys == ["a", "b", "a"]


async def test_turns_begin_and_end_with_the_setting_and_lose_no_job(store: JobStore) -> None:
    await added(store, *(of("a", f"a{i}") for i in range(5)), of("b", "b"), of("", "none"))
    await store.put_settings("q", FAIR, paused=False)
    assert sorted(await turns(store, 3)) == ["", "a", "b"]
    await store.put_settings("q", QueueSettings(), paused=False)
    await added(store, of("c", "c"))
    assert await turns(store, 5) == ["a", "a", "a", "a", "c"]
    await store.put_settings("q", QueueSettings(limits=(Limit("l", LimitScope.KEY, max_active=1),)), paused=False)
    await added(store, of("a", "again"), of("", "plain"))
    await store.put_settings("q", FAIR, paused=False)
    assert len(await turns(store, 2)) == 2
    assert await claimed(store) == []


async def test_no_key_waits_more_than_a_round_of_the_others(store: JobStore) -> None:
    """Random keys come and go; between two turns of a key that has work, each other has at most its weight of them."""
    chance = random.Random(26)
    weights = {f"k{i}": chance.choice([1, 1, 2, 5]) for i in range(6)}
    await store.put_settings("q", FAIR, paused=False)
    waiting: Counter[str] = Counter()
    since: dict[str, Counter[str]] = {}  # turns of others since a key with weight 1 has waited
    for _ in range(400):
        for key in chance.sample(sorted(weights), 2):
            if chance.random() < 0.5:
                count = chance.randint(1, 4)
                await added(store, *(of(key, weight=weights[key]) for _ in range(count)))
                if not waiting[key]:
                    since[key] = Counter()
                waiting[key] += count
        if not waiting.total():
            continue
        [key] = await turns(store, 1)
        waiting[key] -= 1
        since.pop(key, None)
        if waiting[key]:
            since[key] = Counter()
        for other, seen in since.items():
            if other != key:
                seen[key] += 1
                assert seen[key] <= weights[key] + (weights[key] > 1), (other, key, seen)


async def test_a_job_whose_key_waits_for_its_turn_is_explained_so(store: JobStore) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, of("a", "a0"), of("a", "a1"), of("b", "b0"), of("c", "c0"))
    [last, outlook] = await store.explain("q", ["c0", "a1"])
    assert last is not None
    assert last.hindrance == Turn("c", 2)
    assert outlook is not None
    assert (outlook.hindrance, outlook.ahead) == (Turn("a", 0), 1)


@pytest.mark.parametrize("one_by_one", [True, False])
async def test_a_key_that_has_no_more_of_one_type_keeps_its_turn_with_another(
    store: JobStore, one_by_one: bool
) -> None:
    await store.put_settings("q", FAIR, paused=False)
    await added(store, of("a", "only", type="t"), *(of("a", type="u") for _ in range(9)))
    await added(store, *(of("b", type=type_) for type_ in "tu" for _ in range(9)))
    if one_by_one:
        assert await turns(store, 1, "t") == ["a"]
    else:  # it leaves its row by no claim
        assert await turns(store, 2, "u") == ["a", "b"]
        await store.cancel("q", [wish("only")])
    await turns(store, 4, "t")
    assert await turns(store, 1, "t", "u") == ["a"]
