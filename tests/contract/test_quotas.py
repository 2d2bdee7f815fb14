"""The quota of jobs, of all queues and of some by name: what is added, put and made by schedules keeps to the same."""

from __future__ import annotations

import pytest
from tocsin_server.domain.errors import QuotaExceeded
from tocsin_server.domain.job import New
from tocsin_server.domain.quotas import Quotas

from contract.builders import a_draft
from contract.providers import Provider

QUOTAS = Quotas(jobs=2, jobs_in=(("mail.*", 1), ("mail.de.*", 3), ("mail.de.x", 0), ("orders", 4)))
#: How many of five jobs fit.
FIT = {"any": 2, "orders": 4, "orders.late": 2, "mail.": 1, "mail": 2, "mail.fr": 1, "mail.de.y": 3, "mail.de.x": 5}


@pytest.mark.parametrize("queue", FIT)
async def test_a_queue_holds_what_the_nearest_quota_says(provider: Provider, queue: str) -> None:
    async with provider.store(quotas=QUOTAS) as store:
        added = await store.add([a_draft(queue=queue) for _ in range(5)])
    assert [isinstance(one, New) for one in added] == [True] * FIT[queue] + [False] * (5 - FIT[queue])
    refused = [one for one in added if isinstance(one, QuotaExceeded)]
    assert [(one.quota, one.limit) for one in refused] == [(f"jobs in queue {queue!r}", FIT[queue])] * (5 - FIT[queue])


async def test_some_queues_may_have_one_where_others_have_none(provider: Provider) -> None:
    async with provider.store(quotas=Quotas(jobs_in=(("small", 1),))) as store:
        small = await store.add([a_draft(queue="small") for _ in range(2)])
        other = await store.add([a_draft(queue="other") for _ in range(9)])
    assert [isinstance(one, New) for one in (*small, *other)] == [True, False] + [True] * 9
