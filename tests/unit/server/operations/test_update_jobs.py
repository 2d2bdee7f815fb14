"""An update of a part of a job's terms keeps what others change meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from contract.builders import HOUR, a_draft, added, read
from support.spied_store import SpiedStore
from tocsin_server.domain.commands import UpdateJob
from tocsin_server.domain.defaults import UNSET, TermsChange
from tocsin_server.domain.job_errors import RevisionMismatch
from tocsin_server.operations.update_jobs import UpdateJobs


@pytest.mark.parametrize("revision", [None, 1])
async def test_what_another_changes_between_reading_and_writing_stands(spied: SpiedStore, revision: int | None) -> None:
    """But for a caller who said which revision it means: that one is told."""
    await added(spied.as_store, a_draft("a", when=HOUR, tags={"old": "1"}))
    updating = UpdateJobs(spied.as_store)
    gate = spied.gates["get"] = asyncio.Event()
    asked = asyncio.create_task(spied.until_asked("get", 1))
    await asyncio.sleep(0)
    ours = asyncio.create_task(
        updating.update("q", UpdateJob("a", revision=revision), None, TermsChange(UNSET, tags={"new": "1"}))
    )
    await asked
    await spied.as_store.update("q", [UpdateJob("a", priority=7)])
    gate.set()
    answer = await ours
    job = await read(spied.as_store, "a")
    assert job.spec.priority == 7
    if revision is None:
        assert answer == job
        assert job.spec.tags == {"new": "1"}
    else:
        assert isinstance(answer, RevisionMismatch)
        assert job.spec.tags == {"old": "1"}
