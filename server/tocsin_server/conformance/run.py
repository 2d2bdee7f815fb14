"""Runs checks against a worker program, one after the other."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tocsin import TocsinError

from tocsin_server.conformance.checking import Check
from tocsin_server.conformance.journal import NotConforming
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
    command: Sequence[str], checks: Sequence[Check], tell: Callable[[CheckResult], None]
) -> list[CheckResult]:
    """Run these against the worker that `command` starts; `tell` hears of each as it ends. CannotRun."""
    results = []
    with tempfile.TemporaryDirectory(prefix="tocsin-") as folder:
        async with Stage(command, Path(folder)) as stage:
            for check in checks:
                result = await _run(check, stage)
                tell(result)
                results.append(result)
    return results


async def _run(check: Check, stage: Stage) -> CheckResult:
    """A worker that passed serves the next check, too; after a failure another is started."""
    begun, wrong, said = time.monotonic(), "", ""
    try:
        if check.ends_worker or not await stage.settle():
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
