"""The blocking client is the async one on a thread of its own, with the same methods."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import threading

import pytest
from tocsin import AsyncClient, Client, NotFound, State
from unit.client.canned_server import CannedJobService, a_job, said
from unit.client.test_lists_and_batches import page


def methods(kind: type) -> dict[str, inspect.Signature]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: inspect.signature(member) for name, member in found if not name.startswith("_")}


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    blocking, asynchronous = methods(Client), methods(AsyncClient)
    assert {name: str(found.parameters) for name, found in blocking.items()} == {
        name: str(found.parameters) for name, found in asynchronous.items()
    }


def test_both_clients_say_the_same_of_each_method() -> None:
    for name in methods(Client).keys() - {"close"}:
        assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__, name


def test_every_public_method_says_what_the_caller_gets() -> None:
    assert all(getattr(AsyncClient, name).__doc__ for name in methods(AsyncClient))


async def test_calls_and_iterations_work_without_a_loop(address: str, service: CannedJobService) -> None:
    service.jobs["a"] = a_job()
    service.pages = iter([page("a", token="1"), page("b")])
    service.watches = iter([[said(a_job()), said(a_job(state=5, revision=2))]])

    def use() -> None:
        with Client(address) as client:
            assert client.schedule("x", job_id="a").job_id == "a"
            assert client.get("a").state is State.WAITING
            assert [job.job_id for job in client.list()] == ["a", "b"]
            assert [change.job and change.job.state for change in client.watch("a")] == ["WAITING", "COMPLETED"]
            with pytest.raises(NotFound):
                client.get("b")

    await asyncio.to_thread(use)


async def test_leaving_an_iteration_ends_its_call(address: str, service: CannedJobService) -> None:
    service.watches = iter([[said(a_job(str(number))) for number in range(10_000)]])

    def use() -> None:
        with Client(address) as client:
            for change in client.watch():
                assert change.job is not None
                break
            client.run("a")  # the connection goes on

    await asyncio.to_thread(use)


async def test_the_thread_ends_with_the_client(address: str) -> None:
    before = threading.active_count()

    def use() -> None:
        client = Client(address)
        client.schedule("x")
        assert any(thread.name == "tocsin-client" for thread in threading.enumerate())
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.schedule("x")

    await asyncio.to_thread(use)
    assert not any(thread.name == "tocsin-client" for thread in threading.enumerate())
    assert threading.active_count() <= before + 1  # the executor's own


def test_a_client_that_was_never_used_starts_no_thread() -> None:
    with Client("127.0.0.1:1"):
        assert not any(thread.name == "tocsin-client" for thread in threading.enumerate())


def test_a_program_that_forgets_to_close_ends_all_the_same() -> None:
    code = (
        "from tocsin import Client\nc = Client('127.0.0.1:1', retries=False)\ntry: c.get('a')\nexcept Exception: pass"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


INTERRUPTED = """
import sys
from tocsin import Client
with Client(sys.argv[1]) as client:
    try: client.schedule("x", deadline=600)
    except KeyboardInterrupt: sys.exit(7)
"""


async def test_an_interrupt_ends_a_blocking_call_and_closing_does_not_wait_for_it(
    address: str, service: CannedJobService
) -> None:
    service.gate.clear()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", INTERRUPTED, address)
    await service.arrived.wait()
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 7
