"""One act on all jobs that match: counted and looked at first, then done to just those, by a job that outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from tocsin import InvalidArgument, TocsinError
from tocsin.v1 import bulk_service_pb2, job_pb2, payloads_pb2

from tocsin_server.web.commands import CommandLines
from tocsin_server.web.fields import WrongFilter, tags_of
from tocsin_server.web.visit import Visit

#: Seconds for which a page waits for the end of it; then it tells how far it is.
_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class BulkKind:
    """Something that can be done to many."""

    name: str
    button: str
    done: str  # "would be ..."
    states: Sequence[str]
    danger: bool = False


KINDS: Mapping[str, BulkKind] = {
    kind.name: kind
    for kind in (
        BulkKind("retry", "Retry", "made due again", ("FAILED", "CANCELLED")),
        BulkKind("run", "Run now", "made due now", ("SCHEDULED",)),
        BulkKind("cancel", "Cancel", "cancelled", ("SCHEDULED", "BLOCKED", "WAITING", "ACTIVE"), danger=True),
        BulkKind("delete", "Delete", "deleted", ("COMPLETED", "FAILED", "CANCELLED"), danger=True),
    )
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be done to which jobs, as the address or the form says."""

    kind: BulkKind
    queue: str
    state: str
    types: Sequence[str]
    tag: str

    @property
    def fields(self) -> dict[str, str]:
        """The same, for another address or form."""
        return {"queue": self.queue, "state": self.state, "type": ",".join(self.types), "tag": self.tag}

    def request(self, *, dry_run: bool = False, token: str = "") -> bulk_service_pb2.BulkActRequest:
        """What is asked of the API. WrongFilter."""
        request = bulk_service_pb2.BulkActRequest(
            queue=self.queue,
            filter=payloads_pb2.BulkFilter(states=[self.state], types=self.types, tags=tags_of(self.tag)),
            dry_run=dry_run,
            token=token,
        )
        getattr(request, self.kind.name).SetInParent()
        return request


def kinds_of(state: str) -> Sequence[BulkKind]:
    """What can be done to all jobs of a state."""
    return [kind for kind in KINDS.values() if state.upper() in kind.states]


async def bulk(visit: Visit, *, trouble: str = "", status: int = 200) -> Response:
    """What would be touched, and whether to do it. InvalidArgument."""
    try:
        chosen = _chosen(visit)
        dry_run = visit.follow(visit.backend.bulk.BulkAct, chosen.request(dry_run=True))
        found = [answer async for answer in dry_run][-1]
    except WrongFilter as error:
        raise InvalidArgument(str(error)) from None
    by_type: dict[str, int] = {}
    for count in found.counts:
        by_type[count.type] = by_type.get(count.type, 0) + count.jobs
    return visit.page(
        "bulk.html",
        f"{chosen.kind.button} many",
        status=status,
        trouble=trouble,
        chosen=chosen,
        found=found,
        by_type=sorted(by_type.items(), key=lambda pair: -pair[1]),
        lines=_lines(visit, chosen),
        back=_back(chosen),
    )


async def act(visit: Visit) -> Response:
    """Do it to what was counted, and tell how far it is."""
    try:
        chosen = _chosen(visit)
        if not (token := visit.field("token")):
            raise WrongFilter("count them first")
        answers = [bulk_service_pb2.BulkActResponse()]
        following = visit.follow(visit.backend.bulk.BulkAct, chosen.request(token=token))
        try:
            async with asyncio.timeout(_PATIENCE):
                async for answer in following:
                    answers.append(answer)
        except TimeoutError:  # it goes on without us
            pass
        finally:
            await following.aclose()
    except (TocsinError, WrongFilter) as error:
        return await bulk(visit, trouble=str(error), status=409)
    last = answers[-1]
    if last.error:
        return await bulk(visit, trouble=last.error, status=409)
    path, query = _back(chosen)
    said = f"bulk-{chosen.kind.name}" if last.finished else "bulk-goes-on"
    left = last.changed_meanwhile + last.refused
    job = {} if last.finished else {"bulk": last.job_id}
    return visit.go(path, **query, said=said, n=last.done, left=left or None, **job)


def _chosen(visit: Visit) -> Chosen:
    """WrongFilter."""

    def given(name: str) -> str:
        return visit.field(name) or visit.query(name)

    kind, state = KINDS.get(given("do")), given("state").upper()
    if kind is None or state not in kind.states:
        raise WrongFilter("say what is to be done (do), and to jobs of which state")
    types = [name.strip() for name in given("type").split(",") if name.strip()]
    return Chosen(kind, given("queue") or "default", state, types, given("tag"))


def _back(chosen: Chosen) -> tuple[str, dict[str, str]]:
    """The page from which one came."""
    if chosen.state == job_pb2.Job.State.Name(job_pb2.Job.State.FAILED):
        return "/failed", {"queue": chosen.queue}
    return "/jobs", {"queue": chosen.queue, "state": chosen.state}


def _lines(visit: Visit, chosen: Chosen) -> CommandLines:
    options = ["--state", chosen.state.lower()]
    for name in chosen.types:
        options += ["--type", name]
    for key, value in tags_of(chosen.tag).items():
        options += ["--tag", f"{key}={value}"]
    wanted = {"states": [chosen.state], "types": list(chosen.types), "tags": tags_of(chosen.tag)}
    request = {"filter": {name: value for name, value in wanted.items() if value}, chosen.kind.name: {}}
    return visit.site.commands.lines(
        ["jobs", chosen.kind.name], "BulkService/BulkAct", request, options=options, queue=chosen.queue
    )
