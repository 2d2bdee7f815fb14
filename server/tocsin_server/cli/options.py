"""The flags of the commands that start or check a server. Each sets one setting, described in settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tocsin_server.settings import CONFIG_FLAG, CONFIG_VARIABLE, Flag, describe


@dataclass(frozen=True, slots=True)
class _Spec:
    flag: str
    setting: str
    metavar: str

    def option(self) -> Any:
        """The flag as typer wants it. Its text is left to be checked with all other settings, in one way."""
        description, variable = describe(self.setting)
        return typer.Option(self.flag, metavar=self.metavar, help=f"{description} [{variable}]", show_default=False)


_FLAGS = {
    "listen": _Spec("--listen", "listen", "HOST:PORT"),
    "provider": _Spec("--provider", "store.provider", "NAME"),
    "redis_url": _Spec("--redis-url", "store.url", "URL"),
    "mongodb_url": _Spec("--mongodb-url", "store.mongodb_url", "URL"),
    "collection": _Spec("--collection", "store.collection", "NAME"),
    "data": _Spec("--data", "data", "FOLDER"),
    "namespace": _Spec("--namespace", "store.namespace", "NAME"),
    "clock": _Spec("--clock", "store.clock", "real|manual"),
    "handlers": _Spec("--handlers", "handlers", "MODULE,..."),
    "queues": _Spec("--queues", "queues", "NAME,..."),
    "processes": _Spec("--processes", "processes", "N"),
    "concurrency": _Spec("--concurrency", "concurrency", "N"),
    "type_concurrency": _Spec("--type-concurrency", "type_concurrency", "N"),
    "lease": _Spec("--lease", "lease.duration", "DURATION"),
    "tick": _Spec("--tick", "tick", "DURATION"),
    "grace": _Spec("--grace", "drain.grace", "DURATION"),
    "mail": _Spec("--mail", "mail.transport", "URL"),
    "mail_from": _Spec("--mail-from", "mail.sender", "ADDRESS"),
    "templates": _Spec("--templates", "mail.templates", "FOLDER"),
    "metrics": _Spec("--metrics", "metrics.listen", "HOST:PORT"),
    "web": _Spec("--web", "web.listen", "HOST:PORT"),
    "web_root_path": _Spec("--web-root-path", "web.root_path", "PATH"),
    "log_level": _Spec("--log-level", "log.level", "LEVEL"),
    "log_format": _Spec("--log-format", "log.format", "FORMAT"),
}

Config = Annotated[
    Path | None,
    typer.Option(CONFIG_FLAG, metavar="FILE", help=f"TOML file with settings. [{CONFIG_VARIABLE}]", show_default=False),
]
Listen = Annotated[str | None, _FLAGS["listen"].option()]
Provider = Annotated[str | None, _FLAGS["provider"].option()]
RedisUrl = Annotated[str | None, _FLAGS["redis_url"].option()]
MongodbUrl = Annotated[str | None, _FLAGS["mongodb_url"].option()]
Collection = Annotated[str | None, _FLAGS["collection"].option()]
Data = Annotated[str | None, _FLAGS["data"].option()]
Namespace = Annotated[str | None, _FLAGS["namespace"].option()]
Clock = Annotated[str | None, _FLAGS["clock"].option()]
HandlerModules = Annotated[list[str] | None, _FLAGS["handlers"].option()]
Queues = Annotated[list[str] | None, _FLAGS["queues"].option()]
Processes = Annotated[str | None, _FLAGS["processes"].option()]
Concurrency = Annotated[str | None, _FLAGS["concurrency"].option()]
TypeConcurrency = Annotated[str | None, _FLAGS["type_concurrency"].option()]
Lease = Annotated[str | None, _FLAGS["lease"].option()]
TickEvery = Annotated[str | None, _FLAGS["tick"].option()]
Grace = Annotated[str | None, _FLAGS["grace"].option()]
Mail = Annotated[str | None, _FLAGS["mail"].option()]
MailFrom = Annotated[str | None, _FLAGS["mail_from"].option()]
Templates = Annotated[str | None, _FLAGS["templates"].option()]
Metrics = Annotated[str | None, _FLAGS["metrics"].option()]
Web = Annotated[str | None, _FLAGS["web"].option()]
WebRootPath = Annotated[str | None, _FLAGS["web_root_path"].option()]
LogLevel = Annotated[str | None, _FLAGS["log_level"].option()]
LogFormat = Annotated[str | None, _FLAGS["log_format"].option()]
Production = Annotated[
    bool,
    typer.Option("--production", metavar="", help=f"{describe('production')[0]} [{describe('production')[1]}]"),
]
NoDispatch = Annotated[
    bool, typer.Option("--no-dispatch", metavar="", help="Serve RPCs only, run no jobs. [TOCSIN_DISPATCH=no]")
]


def flags_of(parameters: Mapping[str, Any]) -> list[Flag]:
    """The settings that a command's parameters give; those that were left out give none."""
    flags = []
    for name, value in parameters.items():
        if name == "no_dispatch" and value:
            flags.append(Flag("--no-dispatch", "dispatch", False))
        elif name == "production" and value:
            flags.append(Flag("--production", "production", True))
        elif name in _FLAGS and value is not None and value != [] and value != ():  # typer has either for a list
            given = ",".join(value) if isinstance(value, (list, tuple)) else value  # --queues a --queues b,c
            flags.append(Flag(_FLAGS[name].flag, _FLAGS[name].setting, given))
    return flags
