"""Runs checks against a worker program: it is started a few times, and each worker takes the next check."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tocsin import TocsinError

from tocsin_server.conformance.checking import Check
from tocsin_server.conformance.journal import NotConforming
from tocsin_server.conformance.programs import TocsinServer
from tocsin_server.conformance.stage import Stage


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found. `wrong` is empty where the worker passed; `said` is then, too, else the end of what the
    worker wrote."""

    check: Check
    seconds: float
    wrong: str = ""
    said: str = ""


async def run_checks(
    command: Sequence[str], checks: Sequence[Check], tell: Callable[[CheckResult], None], *, at_once: int
) -> list[CheckResult]:
    """Run these against workers that `command` starts, so many at once; `tell` hears of each check as it ends, the
    results are in the order of the checks. CannotRun.

    The workers share nothing but the server: what a check does to one, and to what stands before it, disturbs no other.
    """
    waiting = deque(sorted(checks, key=lambda check: (check.ends_worker, -check.takes)))
    results: dict[str, CheckResult] = {}

    async def serve(stage: Stage) -> None:
        while waiting:
            check = waiting.popleft()
            results[check.name] = result = await _run(check, stage)
            tell(result)

    with tempfile.TemporaryDirectory(prefix="tocsin-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            server = TocsinServer(folder)
            stack.push_async_callback(server.stop)
            await server.start()
            workers = range(1, min(at_once, len(checks)) + 1)
            stages = [
                await stack.enter_async_context(Stage(command, folder, server.address, f"conformance-{worker}"))
                for worker in workers
            ]
            serving = [asyncio.ensure_future(serve(stage)) for stage in stages]
            try:
                await asyncio.gather(*serving)
            finally:
                for task in serving:
                    task.cancel()
                await asyncio.wait(serving)
    return [results[check.name] for check in checks]


async def _run(check: Check, stage: Stage) -> CheckResult:
    """A worker that passed serves the next check, too; after a failure, or its end, another is started."""
    begun, wrong, said = time.monotonic(), "", ""
    try:
        if not await stage.settle():
            await stage.drop_worker()
            await stage.start_worker()
        begun = time.monotonic()
        stage.journal.begin()
        async with asyncio.timeout(check.within):
            await check.run(stage)
        if not check.ends_worker:
            stage.check_alive()
    except NotConforming as unfit:
        wrong = str(unfit)
    except TimeoutError:
        wrong = f"it was not done within {check.within:g} s"
    except TocsinError as error:
        wrong = f"the server refused: {error}"
    seconds = time.monotonic() - begun
    if wrong or check.ends_worker:
        said = stage.said() if wrong else ""
        await stage.drop_worker()
    return CheckResult(check, seconds, wrong, said)
