"""Whether jobs stand just as others stood elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tocsin_server.domain.job import Job, View
from tocsin_server.store.mongo.documents import HEAVY, Document, job_of, key
from tocsin_server.store.mongo.placed import placed_document
from tocsin_server.store.mongo.records import Records
from tocsin_server.store.mongo.transitions import Standing


class Comparing:
    """Compares jobs; payloads and results are read only of those that are alike in all else."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def alike(self, jobs: Sequence[Job], standing: Mapping[str, Standing]) -> set[str]:
        """Ids of the jobs that stand just so, their arrival numbers aside."""
        wanted = {job.job_id: placed_document(job, 0) for job in jobs}
        light = [name for name, document in wanted.items() if _light(document) == _light(standing[name].document)]
        if not light:
            return set()
        ids = [key(jobs[0].queue, name) for name in light]
        found = await self._records.run(
            lambda: self._records.jobs.find(
                {"_id": {"$in": ids}}, dict.fromkeys(("id", "writes", *HEAVY), 1)
            ).to_list(),
            read_only=True,
        )
        return {
            one["id"]
            for one in found
            # Written again since: whoever takes it for another one now will lose, and look again.
            if one["writes"] == standing[one["id"]].document["writes"]
            and all(one.get(name) == wanted[one["id"]].get(name) for name in HEAVY)
        }


def _light(document: Document) -> tuple[Job, int]:
    """What a job is but for payload, result and arrival number. As a Job: a tag's place in a list is nothing of it."""
    without = {name: value for name, value in document.items() if name not in HEAVY}
    return job_of({**without, "arrival": 0}, View.FULL), document["bytes"]
