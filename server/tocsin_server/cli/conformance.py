"""tocsin conformance"""

from __future__ import annotations

import asyncio
import shutil
import textwrap
import time
from typing import Annotated

import typer

from tocsin_server.cli.running import refusal
from tocsin_server.conformance.checks import ALL
from tocsin_server.conformance.programs import CannotRun
from tocsin_server.conformance.run import CheckResult, run_checks
from tocsin_server.conformance.stage import CONCURRENCY, LEASE

_UNFIT = 1  # exit code
_NAME = max(len(check.name) for check in ALL)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("conformance")(conformance)


def conformance(
    program: Annotated[
        list[str] | None, typer.Argument(metavar="-- PROGRAM [ARGUMENT]...", help="The worker and its arguments.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this check alone; may be given again.")
    ] = None,
    at_once: Annotated[
        int,
        typer.Option(min=1, max=16, help="How many of the program run at once; 1 where only one can."),
    ] = 4,
    list_: Annotated[bool, typer.Option("--list", metavar="", help="Print the checks and what each proves.")] = False,
) -> None:
    """Prove a worker program right, in whatever language it is.

    Starts a server of its own and the program, a few times, with TOCSIN_SERVER (HOST:PORT,HOST:PORT), TOCSIN_QUEUE,
    TOCSIN_CONCURRENCY and TOCSIN_LEASE in its environment, and tries it: jobs of all kinds, cancels, lost leases, cut
    connections, SIGTERM. The program has to serve the few job types that docs/conformance.md lists. Takes about half a
    minute. Exit code 0: it passed; 1: it did not, and what failed is named; 2: wrongly used.
    """
    if list_:
        for check in ALL:
            typer.echo(f"{check.name:{_NAME}}  {check.proves}")
        return
    if not program:
        raise refusal("conformance", ["name the worker to try: tocsin conformance -- ./my_worker"])
    known = {check.name for check in ALL}
    if unknown := [name for name in only or () if name not in known]:
        raise refusal("conformance", [f"there is no check {name}; see --list" for name in unknown])
    if shutil.which(program[0]) is None:
        raise refusal("conformance", [f"there is no program {program[0]}"])
    checks = [check for check in ALL if not only or check.name in only]
    begun = time.monotonic()
    typer.echo(f"{' '.join(program)}, with {CONCURRENCY} slots and leases of {LEASE.total_seconds():g} s")
    try:
        results = asyncio.run(run_checks(program, checks, _tell, at_once=at_once))
    except CannotRun as trouble:
        raise refusal("conformance", [str(trouble)]) from None
    failed = [result.check.name for result in results if result.wrong]
    took = f"{time.monotonic() - begun:.0f} s"
    if failed:
        typer.echo(f"\n{len(failed)} of {len(results)} checks failed in {took}: {', '.join(failed)}")
        raise typer.Exit(_UNFIT)
    typer.echo(f"\n{len(results)} checks passed in {took}")


def _tell(result: CheckResult) -> None:
    mark = "FAILED" if result.wrong else "ok"
    typer.echo(f"{mark:6}  {result.check.name:{_NAME}}  {result.seconds:5.1f} s  {result.check.proves}")
    if result.wrong:
        typer.echo(f"        {result.wrong}")
        if result.said:
            typer.echo(textwrap.indent(f"the worker wrote at last:\n{result.said.rstrip()}", "        "))
