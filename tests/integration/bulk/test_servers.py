"""Bulk actions through servers that are killed, callers that leave, actions that are cancelled; on each store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from support.servers import Server
from support.stores import StoreBackend
from tocsin import BulkProgress, Client, FailedPrecondition, InvalidArgument, JobRequest, State

from integration.housekeeping.conftest import Start

DUE = datetime(2040, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHORT = {"TOCSIN_LEASE__DURATION": "5s"}  # so that another server soon takes over from one that was killed


@pytest.fixture
def many(empty_store: StoreBackend) -> int:
    """So many jobs take each store some seconds."""
    return 20_000 if empty_store.provider == "redis" else 1_200


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def to(server: Server) -> Client:
        opened.append(Client(server.address, deadline=60))
        return opened[-1]

    yield to
    for one in opened:
        one.close()


def filled(tocsin: Client, number: int, **words: object) -> None:
    """Jobs of a type that nobody runs, due in 2040."""
    asked = {"at": DUE, **words}
    jobs = [JobRequest("nobody", {"n": n}, job_id=f"j{n:05}", **asked) for n in range(number)]  # type: ignore[arg-type]
    assert not [one for one in tocsin.schedule_many(jobs, deadline=120) if isinstance(one, Exception)]


def last(steps: Iterator[BulkProgress]) -> BulkProgress:
    found = list(steps)
    assert [step.finished for step in found] == [False] * (len(found) - 1) + [True]
    return found[-1]


def times(tocsin: Client) -> set[datetime]:
    return {job.schedule_time for job in tocsin.list(states=["SCHEDULED"], page_size=1000)}


def test_another_server_goes_on_where_one_was_killed(start: Start, client: Callable[..., Client], many: int) -> None:
    first, asked = start(**SHORT), start("--no-dispatch")
    tocsin = client(asked)
    filled(tocsin, many)
    preview = tocsin.bulk.preview("retime", states=["SCHEDULED"], types=["nobody"], by=HOUR)
    assert preview.matched == many
    after_death = 0
    for step in tocsin.bulk.act(preview):
        if not after_death and step.done > many / 10:
            first.kill()
            after_death = step.done
            start(**SHORT)
    assert 0 < after_death < many
    assert (step.done, step.changed_meanwhile, step.refused, step.error) == (many, 0, 0, "")
    assert tocsin.get(step.job_id, queue=step.queue).attempt == 2
    assert times(tocsin) == {DUE + HOUR}


def test_who_is_cut_off_follows_the_same_action_again(start: Start, client: Callable[..., Client], many: int) -> None:
    server = start(**SHORT)
    tocsin = client(server)
    filled(tocsin, many)
    preview = tocsin.bulk.preview("retime", all=True, by=HOUR)
    killed = False
    for step in tocsin.bulk.act(preview):
        if not killed and step.done > many / 10:
            server.kill()
            killed = True
            server.restart()
    assert killed
    assert step.done == many
    assert times(tocsin) == {DUE + HOUR}
    assert tocsin.bulk.run(preview) == step  # made again it begins nothing
    assert times(tocsin) == {DUE + HOUR}


def test_an_action_goes_on_when_its_caller_leaves_and_stops_when_it_is_cancelled(
    start: Start, client: Callable[..., Client], many: int
) -> None:
    server = start()
    tocsin = client(server)
    filled(tocsin, many)
    tocsin.pause()  # that of the jobs, not of the action
    for step in tocsin.bulk.act("retime", all=True, by=HOUR):
        if step.done:
            break
    assert step.done < many
    assert tocsin.wait(step.job_id, queue=step.queue, timeout=120).result["done"] == many  # type: ignore[index]
    assert times(tocsin) == {DUE + HOUR}

    steps = tocsin.bulk.act("retime", all=True, by=HOUR)
    for step in steps:
        if step.done:
            tocsin.cancel(step.job_id, queue=step.queue, reason="enough")
            break
    step = last(steps)
    assert (step.state, step.error) == (State.CANCELLED, "the action was cancelled: enough")
    assert 0 < step.done < many
    shifted = tocsin.list(schedule_time_from=DUE + 2 * HOUR, page_size=1000)
    assert sum(1 for _ in shifted) == step.done

    # Retried it goes on where it stopped.
    tocsin.retry(step.job_id, queue=step.queue)
    assert tocsin.wait(step.job_id, queue=step.queue, timeout=120).state == "COMPLETED"
    assert times(tocsin) == {DUE + 2 * HOUR}


def test_each_act_by_the_client(start: Start, client: Callable[..., Client]) -> None:
    tocsin = client(start())
    filled(tocsin, 30, tags={"batch": "7"})
    bulk = tocsin.bulk
    done = bulk.run("priority", tags={"batch": "7"}, priority="high", max_jobs=10)
    assert (done.matched, done.done, done.finished, done.error) == (None, 10, True, "")
    assert {job.job_id for job in tocsin.list(priority_min=10)} == {f"j{n:05}" for n in range(20, 30)}
    assert bulk.run("retime", priority_min=10, to=DUE + HOUR).done == 10
    assert bulk.run("move", priority_min=10, target="other").counts[0].jobs == 10
    assert tocsin.count(queue="other") == 10
    assert tocsin.get("j00025", queue="other").payload == {"n": 25}
    assert bulk.run("run", queue="other", all=True).done == 10
    assert bulk.run("cancel", all=True, reason="over", grace=1).done == 20
    assert tocsin.get("j00003").cancel.reason == "over"  # type: ignore[union-attr]
    assert bulk.run("retry", states=["CANCELLED"], create_time_to=datetime.now(UTC) + HOUR).done == 20
    assert bulk.run("cancel", types=["nobody"]).done == 20
    preview = bulk.preview("delete", all=True)
    assert (preview.matched, preview.counts[0].state, len(preview.sample)) == (20, State.CANCELLED, 10)
    tocsin.retry("j00000")
    done = bulk.run(preview)
    assert (done.done, done.changed_meanwhile) == (19, 1)
    assert [job.job_id for job in tocsin.list()] == ["j00000"]


def test_a_server_of_some_queues_alone_runs_actions_on_any(start: Start, client: Callable[..., Client]) -> None:
    tocsin = client(start("--queues", "mail"))
    filled(tocsin, 3)
    assert tocsin.bulk.run("cancel", all=True).done == 3


def test_what_cannot_be_moved_is_told(start: Start, client: Callable[..., Client]) -> None:
    tocsin = client(start())
    filled(tocsin, 3)
    filled(tocsin, 1, queue="other")
    done = tocsin.bulk.run("move", all=True, target="other")
    assert (done.done, done.refused, done.matched) == (2, 1, 3)
    assert [(one.job_id, one.reason) for one in done.refusals] == [("j00000", "JOB_EXISTS")]


def test_filters_that_make_no_sense_are_refused_and_change_nothing(
    start: Start, client: Callable[..., Client], empty_store: StoreBackend
) -> None:
    tocsin = client(start("--no-dispatch"))
    filled(tocsin, 2)
    preview = tocsin.bulk.preview("cancel", all=True)
    before = empty_store.dump()
    for verb, words, field in (
        ("cancel", {}, "filter"),
        ("cancel", {"all": True, "types": ["a"]}, "filter.all"),
        ("cancel", {"states": ["COMPLETED"]}, "filter.states[0]"),
        ("retry", {"states": ["ACTIVE"]}, "filter.states[0]"),
        ("run", {"types": ["a b"]}, "filter.types[0]"),
        ("run", {"types": ["a"] * 101}, "filter.types"),
        ("delete", {"tags": {"a b": "c"}}, "filter.tags['a b']"),
        ("delete", {"all": True, "max_jobs": 0}, "max_jobs"),
        ("retime", {"all": True, "by": 0}, "retime.by"),
        ("retime", {"all": True, "by": timedelta(days=40_000)}, "retime.by"),
        ("move", {"all": True, "target": "default"}, "move.queue"),
        ("move", {"all": True, "target": ""}, "move.queue"),
        ("move", {"all": True, "target": "no queue"}, "move.queue"),
        ("cancel", {"all": True, "token": "x"}, "token"),
        ("cancel", {"all": True, "token": "A" * 5_000}, "token"),
        ("cancel", {"all": True, "token": preview.token[:-1] + "%"}, "token"),
        ("retry", {"all": True, "token": preview.token}, "token"),
        ("cancel", {"types": ["nobody"], "token": preview.token}, "token"),
        ("cancel", {"all": True, "reason": "other", "token": preview.token}, "token"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            tocsin.bulk.run(verb, **words)  # type: ignore[arg-type]  # as a user might
        assert [one.field for one in caught.value.violations] == [field], words
    assert empty_store.dump() == before


def test_a_token_is_good_for_as_long_as_changes_are_kept(start: Start, client: Callable[..., Client]) -> None:
    tocsin = client(start(TOCSIN_EVENTS__PER_QUEUE="1000"))
    filled(tocsin, 3)
    preview = tocsin.bulk.preview("cancel", all=True)
    filled(tocsin, 1, queue="other")  # says nothing of this queue
    for _ in range(3):
        jobs = tocsin.schedule_many([JobRequest("nobody", delay=3600) for _ in range(1000)])
        tocsin.cancel_many(jobs)  # type: ignore[arg-type]
    with pytest.raises(FailedPrecondition) as caught:
        tocsin.bulk.run(preview)
    assert caught.value.reason == "BULK_TOKEN_STALE"
    assert tocsin.get("j00000").state == "SCHEDULED"
