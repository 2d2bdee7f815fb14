"""tocsin dev"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer
from tocsin import AsyncClient, TocsinError

from tocsin_server.cli import options
from tocsin_server.cli.job_screen import JobScreen
from tocsin_server.cli.log_lines import LogLines
from tocsin_server.cli.reloading import AGAIN, run_reloading
from tocsin_server.cli.running import loaded_or_exit, refusal, run_server
from tocsin_server.handlers.hello import TYPE
from tocsin_server.server import Server
from tocsin_server.settings import Flag, Settings, is_loopback, without

_DASHBOARD = "127.0.0.1:50080"  # where a browser finds it again after a restart
_FIRST_DELAY = 3  # seconds ahead of which the first job is scheduled
_PATIENCE = 30  # seconds after which it is said to be late


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("dev")(dev)


def dev(
    context: typer.Context,
    config: options.Config = None,
    listen: options.Listen = None,
    data: options.Data = None,
    clock: options.Clock = None,
    handlers: options.HandlerModules = None,
    queues: options.Queues = None,
    concurrency: options.Concurrency = None,
    grace: options.Grace = None,
    mail: options.Mail = None,
    mail_from: options.MailFrom = None,
    templates: options.Templates = None,
    metrics: options.Metrics = None,
    web: options.Web = None,
    web_root_path: options.WebRootPath = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
    reload: Annotated[
        bool,
        typer.Option("--reload", metavar="", help="Start again whenever a .py file of the handlers' package changes."),
    ] = False,
    again: Annotated[bool, typer.Option(AGAIN, hidden=True)] = False,
) -> None:
    """Try Tocsin here: a server with everything it needs, on this machine only.

    Jobs are kept in the data folder; mail and text messages are written into its folder `outbox`. A first job is
    scheduled, and a line is printed for whatever happens to jobs, with the trace of what fails; then it tells what to
    type next, and goes on serving.
    """
    # A production's address in the environment must not make a trial run production's jobs.
    environ = without(os.environ, "store")
    flags = options.flags_of(context.params)
    flags.append(Flag("tocsin dev", "store.provider", "embedded"))
    flags.append(Flag("tocsin dev", "production", False))
    folder = loaded_or_exit("dev", flags, environ, config).settings.data
    outbox = Flag("tocsin dev", "mail.transport", f"file:{folder / 'outbox'}")
    sender = Flag("tocsin dev", "mail.sender", "Tocsin <tocsin@localhost>")
    texts = Flag("tocsin dev", "sms.url", f"file:{folder / 'outbox'}")
    private = Flag("tocsin dev", "http.allow_private", True)  # what is called is on this machine, too
    measured = Flag("tocsin dev", "metrics.listen", "127.0.0.1:0")
    page = Flag("tocsin dev", "web.listen", _DASHBOARD)
    defaults = [outbox, sender, texts, private, measured, page]
    settings = loaded_or_exit("dev", flags, environ, config, defaults).settings
    if not is_loopback(settings.listen):
        raise refusal("dev", [f"{settings.listen} can be reached from outside; use `tocsin serve` for that"])

    if settings.tls.cert_file is not None or settings.auth.principals_file is not None:
        raise refusal("dev", ["it has neither TLS nor a login, being for this machine alone: use `tocsin serve`"])
    if reload:
        arguments = [argument for argument in sys.argv[1:] if argument != "--reload"]
        raise typer.Exit(run_reloading(arguments, settings.handlers))

    async def show(server: Server) -> None:
        if not again:
            await _show(server, settings)

    lines = LogLines(colours=sys.stderr.isatty())
    run_server("dev", settings, hello=True, then=show, before=_open_screen, lines=lines)


def _open_screen() -> None:
    JobScreen.open()
    # What the greeting says better.
    logging.getLogger("tocsin.server").addFilter(
        lambda record: not (isinstance(record.msg, dict) and record.msg.get("event") in ("serving", "ready"))
    )


async def _show(server: Server, settings: Settings) -> None:
    address = server.address
    typer.secho(f"Tocsin serves on {address}.", bold=True)
    typer.echo(f"  jobs    are kept in {settings.data}")
    typer.echo(f"  mail    goes to {settings.data / 'outbox'}")
    typer.echo(f"  yours   {', '.join(settings.handlers) or 'no handlers yet: --handlers MODULE'}")
    typer.echo(f"  metrics are at http://{server.metrics_address}/metrics")
    if server.dashboard_address:
        typer.secho(f"  page    is at {server.dashboard_address}", bold=True)
    async with AsyncClient(address, tls=False, token="") as client:
        job = await client.schedule(TYPE, {"name": "world"}, delay=_FIRST_DELAY)
        typer.echo(f"A first job is scheduled: {job.job_id}, of type {job.type}, due in {_FIRST_DELAY} seconds.")
        try:
            done = await client.wait(job, timeout=_FIRST_DELAY + _PATIENCE)
        except TocsinError as error:
            typer.echo(f"It has not ended: {error}")
        else:
            typer.echo(f"It is {done.state} and says: {_greeting(done.result)}")
    typer.echo(_NEXT.format(address=address, address_option=_address_option(address), type=TYPE, request=_REQUEST))


def _address_option(address: str) -> str:
    return "" if address.rpartition(":")[2] == "50051" else f" --address {address}"


def _greeting(result: object) -> str:
    return str(result["greeting"]) if isinstance(result, dict) and "greeting" in result else "nothing"


_REQUEST = f'{{"job":{{"type":"{TYPE}","data":{{"name":"Ada"}}}},"delay":"3s"}}'
_NEXT = """
Try next, in another terminal:

  tocsin jobs schedule {type} -d '{{"name":"Ada"}}' --delay 3s{address_option}
  tocsin jobs list{address_option}

or with grpcurl:

  grpcurl -plaintext -d '{request}' {address} tocsin.v1.JobService/ScheduleJob

or in Python:

  from tocsin import Client
  with Client("{address}") as tocsin:
      job = tocsin.schedule("{type}", {{"name": "Ada"}}, delay=3)
      print(tocsin.wait(job).result)

Handlers of your own: tocsin dev --handlers MODULE --reload. Ctrl-C stops the server.
"""
