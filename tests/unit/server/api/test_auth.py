"""Who may call what: every method there is, by every kind of credentials, over the descriptors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest
import structlog
from support.spied_store import SpiedStore
from support.stubs import refusal
from tocsin.v1 import job_service_pb2 as pb
from tocsin_server.api.interceptors.auth import Auth
from tocsin_server.api.permissions import ALSO_TAKE
from tocsin_server.api.scopes import RULES, NoScope
from tocsin_server.api.services import PROBES, SERVICES
from tocsin_server.security.authentication import Authentication
from tocsin_server.security.principals import Principal, Principals, Scope, Token, hash_of
from unit.server.api.running_api import Api, running_api

METHODS = {
    method.path: method
    for service in (*SERVICES, *PROBES)
    for method in (service.method(descriptor) for descriptor in service.descriptor.methods)
}
#: The name of what each takes.
REQUESTS = {
    service.method(descriptor).path: descriptor.input_type.full_name
    for service in (*SERVICES, *PROBES)
    for descriptor in service.descriptor.methods
}
CODE = grpc.StatusCode
LATE = datetime.now(UTC) - timedelta(seconds=1)


def principal(name: str, scopes: set[Scope], *secrets: str, expires: datetime | None = None) -> Principal:
    kept = tuple(Token(f"{abs(hash((name, one))):016x}"[:16], hash_of(one), expires) for one in secrets)
    return Principal(name, frozenset(scopes), tokens=kept)


#: For each scope one who has it alone, and one who has all others.
EVERYBODY = [
    principal("nobody", set(), "t-nothing"),
    principal("late", set(Scope), "t-late", expires=LATE),
    *(principal(f"only-{scope}", {scope}, f"t-only-{scope}") for scope in Scope),
    *(principal(f"not-{scope}", set(Scope) - {scope}, f"t-not-{scope}") for scope in Scope),
]


@dataclass
class Guarded:
    api: Api
    auth: Auth
    principals: list[Principal] = field(default_factory=lambda: list(EVERYBODY))


@pytest.fixture
async def guarded(spied: SpiedStore) -> AsyncIterator[Guarded]:
    """The API for those of EVERYBODY."""
    standing: list[Principal] = list(EVERYBODY)
    auth = Auth(Authentication(lambda: Principals.of(standing)).principal)
    async with running_api(spied, auth=auth, watches=100, idle=timedelta(seconds=0.2)) as api:
        yield Guarded(api, auth, standing)


async def code_of(
    api: Api, path: str, token: str | None, kind: str = "Bearer", *, refused: bool = True
) -> grpc.StatusCode:
    """How a call with an empty request ends. One that may stay open is cut off, and counts as OK."""
    metadata = None if token is None else (("authorization", f"{kind} {token}"),)
    call = api.channel.unary_stream(path)(b"", metadata=metadata, timeout=30)
    try:
        async with asyncio.timeout(20 if refused else 0.3):
            while await call.read() is not grpc.aio.EOF:
                pass
            return await call.code()
    except TimeoutError:
        call.cancel()
        return CODE.OK
    except grpc.aio.AioRpcError as error:
        return error.code()


def test_each_method_that_there_is_has_a_rule_and_no_other() -> None:
    assert len(METHODS) > 45
    assert RULES.keys() == METHODS.keys()


def test_nothing_is_open_but_what_probes_call() -> None:
    opened = {path for path, rule in RULES.items() if rule is NoScope.OPEN}
    assert opened == {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}


def test_only_what_says_nothing_of_jobs_is_anybody_s() -> None:
    anybody = {path.rpartition("/")[2] for path, rule in RULES.items() if rule is NoScope.ANYBODY}
    assert anybody == {"GetServerInfo", "List", "ServerReflectionInfo"}


def test_what_changes_nothing_takes_a_scope_that_reads_and_what_changes_does_not() -> None:
    reading = {Scope.READ, Scope.READ_PAYLOAD}
    odd = {
        path.rpartition("/")[2]
        for path, rule in RULES.items()
        if isinstance(rule, Scope) and METHODS[path].reads != (rule in reading)
    }
    assert odd == {"ExportJobs"}  # all that stands in a store


@pytest.mark.parametrize("path", sorted(METHODS))
async def test_each_method_lets_in_who_has_its_scope_and_nobody_else(guarded: Guarded, path: str) -> None:
    rule, refused = RULES[path], {CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED}
    strangers = [None, "t-unknown", "t-late", "", "t-only-admin x", hash_of("t-only-admin")]
    got = {token: await code_of(guarded.api, path, token, refused=rule is not NoScope.OPEN) for token in strangers}
    if rule is NoScope.OPEN:
        assert set(got.values()) == {CODE.OK}
        return
    assert set(got.values()) == {CODE.UNAUTHENTICATED}, got
    assert await code_of(guarded.api, path, "t-only-admin", "Basic") is CODE.UNAUTHENTICATED
    if rule is NoScope.ANYBODY:
        assert await code_of(guarded.api, path, "t-nothing", refused=False) not in refused
        return
    takes = {rule, ALSO_TAKE[message]} if (message := REQUESTS[path]) in ALSO_TAKE else {rule}
    for scope in Scope:
        allowed = await code_of(guarded.api, path, f"t-only-{scope}", refused=takes != {scope})
        denied = await code_of(guarded.api, path, f"t-not-{scope}", refused=scope in takes)
        assert (allowed is not CODE.PERMISSION_DENIED) == (takes == {scope}), (scope, allowed)
        assert (denied is CODE.PERMISSION_DENIED) == (scope in takes), (scope, denied)
        assert CODE.UNAUTHENTICATED not in (allowed, denied)
    assert await code_of(guarded.api, path, "t-nothing") is CODE.PERMISSION_DENIED


async def test_refusals_say_what_is_missing_and_nothing_of_the_token(guarded: Guarded) -> None:
    path = "/tocsin.v1.JobService/GetJob"
    said = {}
    with structlog.testing.capture_logs() as logs:
        for token in (None, "t-unknown", "t-late", "t-only-work"):
            metadata = None if token is None else (("authorization", f"Bearer {token}"),)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await guarded.api.channel.unary_unary(path)(b"", metadata=metadata)
            said[token] = refusal(caught.value)
    assert [one.reason for one in said.values()] == ["UNAUTHENTICATED"] * 3 + ["PERMISSION_DENIED"]
    assert "authorization: Bearer" in said[None].message
    assert "expired" in said["t-late"].message
    assert "only-work may not call" in said["t-only-work"].message
    assert "takes the scope read." in said["t-only-work"].message
    told = repr(logs) + repr(said.values())
    assert not any(secret in told for secret in ("t-unknown", "t-late", "t-only-work"))
    # Who may not is named, who is not known cannot be.
    assert [entry.get("caller") for entry in logs] == [None, None, None, "only-work"]


async def test_a_method_that_nobody_knows_is_nobody_s(guarded: Guarded) -> None:
    assert await code_of(guarded.api, "/tocsin.v1.JobService/ForgetJob", None) is CODE.UNAUTHENTICATED
    assert await code_of(guarded.api, "/tocsin.v1.JobService/ForgetJob", "t-only-admin") is CODE.PERMISSION_DENIED


async def test_a_cancel_bears_the_name_of_who_asked_for_it(guarded: Guarded) -> None:
    jobs = guarded.api.jobs
    scheduled = pb.ScheduleJobRequest(job_id="a")
    scheduled.job.type = "t"
    scheduled.delay.seconds = 60
    await jobs.ScheduleJob(scheduled, metadata=(("authorization", "Bearer t-only-schedule"),))
    request = pb.CancelJobRequest(job_id="a", reason="r")
    answer = await jobs.CancelJob(request, metadata=(("authorization", "bearer t-only-operate"),))
    assert (answer.job.cancel.by, answer.job.cancel.reason) == ("only-operate", "r")


#: What only-read is after a change of the file, and how its watch ends.
CHANGES = {
    "revoked": (principal("only-read", {Scope.READ}, "t-new"), CODE.UNAUTHENTICATED),
    "scope taken": (principal("only-read", set(), "t-only-read"), CODE.PERMISSION_DENIED),
    "queues taken": (
        replace(principal("only-read", {Scope.READ}, "t-only-read"), queues=("other",)),
        CODE.PERMISSION_DENIED,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_watch_ends_once_its_caller_may_no_more(guarded: Guarded, change: str) -> None:
    async def watching(token: str) -> grpc.aio.UnaryStreamCall[pb.WatchJobsRequest, pb.WatchJobsResponse]:
        watch = guarded.api.jobs.WatchJobs(
            pb.WatchJobsRequest(queue="q"), metadata=(("authorization", f"Bearer {token}"),), timeout=30
        )
        await watch.initial_metadata()
        return watch

    watch, other = await watching("t-only-read"), await watching("t-not-work")
    guarded.auth.recheck()
    after, code = CHANGES[change]
    guarded.principals[:] = [after if one.name == "only-read" else one for one in guarded.principals]
    guarded.auth.recheck()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(5):
            await watch.read()
    assert caught.value.code() is code
    assert not other.done()
    other.cancel()


async def test_a_watch_goes_on_where_its_caller_may_more(guarded: Guarded) -> None:
    fewer = replace(principal("some", {Scope.READ}, "t-some"), queues=("q", "r.*"))
    guarded.principals.append(fewer)
    watch = guarded.api.jobs.WatchJobs(
        pb.WatchJobsRequest(queue="q"), metadata=(("authorization", "Bearer t-some"),), timeout=30
    )
    await watch.initial_metadata()
    for queues in (("q", "r.*", "s"), None):
        guarded.principals[-1] = replace(fewer, scopes=frozenset(Scope), queues=queues)
        guarded.auth.recheck()
        await asyncio.sleep(0)
        assert not watch.done()
    watch.cancel()
