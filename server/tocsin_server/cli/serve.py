"""tocsin serve"""

from __future__ import annotations

import os

import typer

from tocsin_server.cli import options
from tocsin_server.cli.processes import run_processes
from tocsin_server.cli.running import loaded_or_exit, run_server


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    context: typer.Context,
    config: options.Config = None,
    production: options.Production = False,
    listen: options.Listen = None,
    provider: options.Provider = None,
    redis_url: options.RedisUrl = None,
    mongodb_url: options.MongodbUrl = None,
    collection: options.Collection = None,
    data: options.Data = None,
    namespace: options.Namespace = None,
    clock: options.Clock = None,
    handlers: options.HandlerModules = None,
    queues: options.Queues = None,
    no_dispatch: options.NoDispatch = False,
    processes: options.Processes = None,
    concurrency: options.Concurrency = None,
    type_concurrency: options.TypeConcurrency = None,
    lease: options.Lease = None,
    tick: options.TickEvery = None,
    grace: options.Grace = None,
    mail: options.Mail = None,
    mail_from: options.MailFrom = None,
    templates: options.Templates = None,
    metrics: options.Metrics = None,
    web: options.Web = None,
    web_root_path: options.WebRootPath = None,
    log_level: options.LogLevel = None,
    log_format: options.LogFormat = None,
) -> None:
    """Serve jobs over gRPC and run those that have a handler here.

    With nothing configured, jobs are kept in a Valkey that this server starts itself, in the data folder. SIGTERM and
    Ctrl-C stop in order: running jobs get their grace and the rest is given back; a second one stops at once.

    One process uses one core. With --processes several serve on the one address and the one store: what dies is
    started again, and all are stopped together.
    """
    loaded = loaded_or_exit("serve", options.flags_of(context.params), os.environ, config)
    if loaded.settings.processes > 1:
        run_processes("serve", loaded)
    else:
        run_server("serve", loaded.settings)
