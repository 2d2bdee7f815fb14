"""Jobs of one key, with several servers of which one dies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from support.eventually import until
from support.servers import Server
from support.stores import StoreBackend
from tocsin import Client, Collapse, Job, TocsinError

LATER = timedelta(hours=1)
AGAIN = Collapse("k", "RUN_AGAIN_AFTER")


def test_of_callers_at_two_servers_one_makes_the_job(store: StoreBackend, serve: Callable[..., Server]) -> None:
    servers = [serve(store.url, "--no-dispatch") for _ in range(2)]
    clients = [Client(server.address, retries=False) for server in servers]

    def asked(number: int) -> Job | TocsinError:
        try:
            return clients[number % 2].schedule(
                "t", {"n": number}, delay=LATER, collapse=Collapse("k", "KEEP"), deadline=5
            )
        except TocsinError as error:
            return error

    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(asked, number) for number in range(200)]
        until(lambda: sum(one.done() for one in asking) > 50, within=30)
        servers[0].kill()
        answers = [one.result(60) for one in asking]
    jobs = [one for one in answers if isinstance(one, Job)]
    assert len(jobs) > 100
    assert len({job.job_id for job in jobs}) == 1
    assert sum(job.outcome == "CREATED" for job in jobs) <= 1  # its answer may have died with the server
    assert clients[1].count() == 1
    for client in clients:
        client.close()


def test_the_next_of_a_key_goes_though_the_server_of_the_one_before_dies(
    store: StoreBackend, serve: Callable[..., Server]
) -> None:
    lease = {"TOCSIN_LEASE__DURATION": "2s", "handlers": "support.jobs.everyday"}
    first, second = serve(store.url, **lease), serve(store.url, "--no-dispatch")
    with Client(second.address) as client:
        runs = client.schedule("until_cancelled", collapse=AGAIN)
        until(lambda: client.get(runs).state == "ACTIVE", within=30)
        following = client.schedule("until_cancelled", {"n": 2}, collapse=AGAIN)
        assert (following.state, client.explain(following).job_ids) == ("BLOCKED", (runs.job_id,))
        client.cancel(runs, grace=LATER)
        first.kill()
        # Nobody ends it but the other server, which takes the lease back: it was to be cancelled.
        assert client.wait(runs, timeout=60).state == "CANCELLED"
        until(lambda: client.get(following).state == "WAITING", within=45)
        third = serve(store.url, **lease)
        until(lambda: client.get(following).state == "ACTIVE", within=30)
        client.cancel(following)
        assert client.wait(following, timeout=30).state == "CANCELLED"
        assert third.address != first.address
