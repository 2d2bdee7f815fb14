"""Programs that use a client and fork, each a process of its own: what can work works, what cannot says so at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from support.servers import Server

#: Four children, each of which counts jobs by `work()` and says how it went by its exit code; then the parent itself.
FORKS = """
import asyncio, os, signal, sys, threading
from tocsin import AsyncClient, Client, UnusableClient
address = sys.argv[1]

def answered(work):
    try:
        work()
    except UnusableClient as error:
        print(str(error), flush=True)
        return 3
    return 0

def children(work, number=4):
    codes = []
    for _ in range(number):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a child that hangs dies of it
            os._exit(answered(work))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    return codes

def use(client):
    if isinstance(client, Client):
        assert client.count() >= 0
    else:
        asyncio.run(_use(client))

async def _use(client):
    assert await client.count() >= 0
    await asyncio.gather(*[client.schedule("echo", {}, delay=3600) for _ in range(3)])

def close(client):
    if isinstance(client, Client):
        client.close()
    else:
        asyncio.run(client.close())

def anew():
    client = kind(address)
    use(client)
    close(client)

kind = {"Client": Client, "AsyncClient": AsyncClient}[sys.argv[2]]
"""


def run(program: str, server: Server, *arguments: str, options: tuple[str, ...] = ("-W", "error")) -> str:
    """What a program said, that ended well and in time."""
    command = [sys.executable, *options, "-c", FORKS + program, server.address, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


KINDS = pytest.mark.parametrize("kind", ["Client", "AsyncClient"])


@KINDS
def test_a_client_that_was_made_and_not_used_before_a_fork_works_in_children(server: Server, kind: str) -> None:
    run("c = kind(address); assert children(lambda: use(c)) == [0] * 4; use(c); close(c)", server, kind)


@KINDS
def test_nothing_made_before_a_fork_works(server: Server, kind: str) -> None:
    run("assert children(anew) == [0] * 4; anew()", server, kind)


@KINDS
@pytest.mark.parametrize("work", ["lambda: use(c)", "anew"], ids=["the same client", "a new client"])
def test_a_client_that_was_used_and_is_idle_goes_through_a_fork(server: Server, kind: str, work: str) -> None:
    run(f"c = kind(address); use(c); assert children({work}) == [0] * 4; use(c); close(c)", server, kind)


@KINDS
def test_a_client_that_was_closed_leaves_nothing_that_a_fork_could_break(server: Server, kind: str) -> None:
    program = """
import gc
gc.disable()
c = kind(address); use(c)
try:
    use_missing = c.get("missing") if kind is Client else asyncio.run(c.get("missing"))
except Exception as error:
    kept = error  # its traceback has the frames of the call
close(c)
assert not [t.name for t in threading.enumerate() if t is not threading.current_thread()], threading.enumerate()
assert children(anew) == [0] * 4
"""
    run(program, server, kind)


def test_a_fork_in_the_midst_of_a_running_loop(server: Server) -> None:
    program = """
async def main():
    c = AsyncClient(address)
    await _use(c)
    assert children(lambda: threaded(anew)) == [0] * 4  # this thread's loop stays that of the parent
    codes = await asyncio.to_thread(children, lambda: use(c))
    assert codes == [0] * 4, codes
    await _use(c)
    await c.close()

def threaded(work):
    failed = []
    def guarded():
        try: work()
        except BaseException as error: failed.append(error)
    thread = threading.Thread(target=guarded); thread.start(); thread.join()
    if failed: raise failed[0]

asyncio.run(main())
"""
    run(program, server, "AsyncClient", options=())


@KINDS
def test_a_fork_beside_an_open_watch_is_told_in_the_child(server: Server, kind: str) -> None:
    program = """
if kind is Client:
    c = Client(address)
    job = c.schedule("echo", {}, delay=3600)
    changes = c.watch(job)
    next(changes)
    codes = children(lambda: use(c), 2) + children(anew, 2)
    changes.close(); close(c)
else:
    async def main():
        c = AsyncClient(address)
        job = await c.schedule("echo", {}, delay=3600)
        changes = c.watch(job)
        await anext(changes)
        codes = await asyncio.to_thread(lambda: children(lambda: use(c), 2) + children(anew, 2))
        await changes.aclose()
        await c.close()
        return codes
    codes = asyncio.run(main())
assert codes == [3] * 4, codes
assert children(anew) == [0] * 4  # and once the watch is closed, a fork is fine
"""
    said = run(program, server, kind, options=())
    assert said.count("forked while its parent used gRPC") == 4


def test_a_child_that_was_told_ends_as_any_program(server: Server) -> None:
    program = """
c = Client(address); job = c.schedule("echo", {}, delay=3600); changes = c.watch(job); next(changes)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    for client in (c, Client(address)):
        assert answered(client.count) == 3
    del client, c, changes
    sys.exit(7)  # the whole way through the interpreter's end
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    run(program, server, "Client", options=())


def test_other_code_that_uses_grpc_is_told_of(server: Server) -> None:
    program = """
import grpc
async def main():
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        codes = await asyncio.to_thread(children, lambda: use(Client(address)))
        assert codes == [3] * 4, codes
asyncio.run(main())
"""
    run(program, server, "Client", options=())


def test_multiprocessing_by_fork(server: Server) -> None:
    program = """
import multiprocessing
c = Client(address)
use(c)

def count(_):
    return c.count() >= 0 and Client(address).count() >= 0

with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map_async(count, range(8)).get(timeout=40) == [True] * 8
c.close()
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map_async(abs, range(8)).get(timeout=40)
"""
    run(program, server, "Client", options=())


def test_threads_that_call_while_another_forks(server: Server) -> None:
    program = """
c = Client(address)
stop, failed = threading.Event(), []

def calls():
    while not stop.is_set():
        try:
            c.count()
        except BaseException as error:
            failed.append(error)

threads = [threading.Thread(target=calls) for _ in range(4)]
for thread in threads: thread.start()
codes = children(lambda: use(c), 10)
stop.set()
for thread in threads: thread.join()
assert not failed, failed
assert set(codes) <= {0, 3}, codes
assert children(lambda: use(c)) == [0] * 4
"""
    run(program, server, "Client", options=())


async def test_asyncio_subprocesses_are_no_forks(server: Server) -> None:
    """What starts another program never met the trouble, and costs a client nothing."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from tocsin import Client; import sys; Client(sys.argv[1]).count()", server.address
    )
    assert await process.wait() == 0
