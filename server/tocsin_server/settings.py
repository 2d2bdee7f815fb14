"""Every setting of the server, with its default.

A value comes from the first of these that has it: a flag; an environment variable (TOCSIN_CONCURRENCY; for a setting in
a group TOCSIN_LEASE__DURATION); a variable of the origin (QUEUE_PROVIDER, REDIS_HOST, ...); the TOML file named by
--config or TOCSIN_CONFIG (`concurrency = 20`, `[lease]` and below it `duration = "30s"`); the default.
`setting_sources.load` reads them, remembers where each came from, and explains what is wrong. (pydantic-settings
does not know where a value came from, nor variables with names of their own inside a group; both are needed here.)
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic.config import JsonDict

from tocsin_server.setting_types import Duration, ListenAddress, Names, QueueNames


def _origin(variable: str) -> JsonDict:
    """Marks the environment variable that Tocsin's origin reads for this."""
    return {"origin_variable": variable}


class StoreSettings(BaseModel, frozen=True, extra="forbid"):
    """Where jobs are kept. Nothing said at all: a Valkey of the server's own, in the data folder."""

    provider: Literal["embedded", "redis", "bull", "mongo", "agenda"] | None = Field(
        default=None,
        description="redis (or bull); embedded: a Valkey that this server starts. Absent: redis where an address is "
        "given, else embedded.",
        json_schema_extra=_origin("QUEUE_PROVIDER"),
    )
    url: SecretStr | None = Field(
        default=None,
        description="redis://user:password@host:port/db, rediss://, unix:///path, "
        "redis+sentinel://host:port,host:port/service/db or redis+cluster://host:port,host:port. "
        "Goes before host, port, password and db.",
        json_schema_extra=_origin("REDIS_URL"),
    )
    host: str | None = Field(default=None, description="Absent: localhost.", json_schema_extra=_origin("REDIS_HOST"))
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="Absent: 6379.", json_schema_extra=_origin("REDIS_PORT")
    )
    password: SecretStr | None = Field(default=None, json_schema_extra=_origin("REDIS_PASSWORD"))
    db: int | None = Field(default=None, ge=0, description="Absent: 0.", json_schema_extra=_origin("REDIS_DB"))
    namespace: str = Field(
        default="tocsin",
        pattern=r"^[A-Za-z0-9._-]{1,50}$",
        description="Every key begins with it; servers with the same one share their jobs.",
    )
    answer_within: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="An answer of the store later than that counts as none.",
    )
    max_connections: int = Field(default=16, ge=1, le=1_000, description="Commands to the store under way at most.")

    @field_validator("provider")
    @classmethod
    def _built(cls, provider: str | None) -> str | None:
        if provider in ("mongo", "agenda"):
            raise ValueError(f"{provider} is not in this version; use redis, or leave it out for the embedded store")
        return provider

    @model_validator(mode="after")
    def _agree(self) -> StoreSettings:
        if self.provider == "embedded" and self._address_given:
            raise ValueError("the embedded store has no address; leave out either provider or the address")
        return self

    @property
    def _address_given(self) -> bool:
        return any(value is not None for value in (self.url, self.host, self.port, self.password, self.db))

    @property
    def embedded(self) -> bool:
        """The store is started by this server."""
        return self.provider == "embedded" or (self.provider is None and not self._address_given)

    def address(self) -> str:
        """The address of a store that is not embedded. It may hold a password: show it through redact_url only."""
        if self.url is not None:
            return self.url.get_secret_value()
        password = f":{quote(self.password.get_secret_value(), safe='')}@" if self.password is not None else ""
        host = self.host or "localhost"
        host = f"[{host}]" if ":" in host else host
        return f"redis://{password}{host}:{self.port or 6379}/{self.db or 0}"


class LeaseSettings(BaseModel, frozen=True, extra="forbid"):
    """How long an attempt may stay unheard of."""

    duration: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(hours=12),
        description="Unextended for this long, a lease is taken back. No limit on how long a job may run.",
    )


class DrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How the server stops."""

    grace: Duration = Field(
        default=timedelta(seconds=25),
        ge=timedelta(0),
        le=timedelta(hours=24),
        description="Time that running jobs get to end; then they are given back.",
    )


class RetentionSettings(BaseModel, frozen=True, extra="forbid"):
    """How many ended jobs a queue keeps. Their ages are set with queue, type and job."""

    completed_max: int = Field(
        default=10_000, ge=0, le=10_000_000, description="COMPLETED and CANCELLED jobs of a queue."
    )
    failed_max: int = Field(default=100_000, ge=0, le=10_000_000, description="FAILED jobs of a queue.")


class EventSettings(BaseModel, frozen=True, extra="forbid"):
    """How far back watches can go."""

    per_queue: int = Field(default=100_000, ge=1_000, le=10_000_000, description="Changes kept of each queue.")
    kept_for: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="Older changes are dropped.",
    )


class MailSettings(BaseModel, frozen=True, extra="forbid"):
    """Outgoing mail, for jobs of type email_notification."""

    transport: SecretStr | None = Field(
        default=None,
        description="smtp://user:password@host:port, smtps://..., or file:FOLDER, which writes an .eml a mail. "
        "Absent: such jobs fail and say so.",
    )
    sender: str | None = Field(default=None, description="From, for mails that name none.")
    templates: Path | None = Field(default=None, description="Folder of the templates.")


class GatherSettings(BaseModel, frozen=True, extra="forbid"):
    """How single calls are gathered into one call of the store."""

    wait: Duration = Field(
        default=timedelta(milliseconds=3),
        ge=timedelta(0),
        le=timedelta(milliseconds=100),
        description="How long a schedule call waits for company while several are in flight; a lone one never waits.",
    )


class LogSettings(BaseModel, frozen=True, extra="forbid"):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is written."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="console, json (a line each), or auto: console on a terminal, else json."
    )


class Settings(BaseModel, frozen=True, extra="forbid"):
    """All settings. Read them with `setting_sources.load`; in tests make them by keyword."""

    listen: ListenAddress = Field(default="127.0.0.1:50051", description="host:port to serve gRPC on.")
    data: Path = Field(default=Path(".tocsin"), description="Folder of the embedded store.")
    handlers: Names = Field(default=(), description="Modules with handlers, as myapp.jobs or myapp.jobs:name.")
    queues: QueueNames = Field(default=(), description="Queues to run jobs of. None given: all.")
    dispatch: bool = Field(default=True, description="Run jobs; else serve RPCs only.")
    concurrency: int = Field(default=20, ge=1, le=10_000, description="Jobs that run at once.")
    tick: Duration = Field(
        default=timedelta(seconds=1),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="A lost wake-up delays a job by this much at most.",
    )
    store: StoreSettings = StoreSettings()
    lease: LeaseSettings = LeaseSettings()
    drain: DrainSettings = DrainSettings()
    retention: RetentionSettings = RetentionSettings()
    events: EventSettings = EventSettings()
    mail: MailSettings = MailSettings()
    gather: GatherSettings = GatherSettings()
    log: LogSettings = LogSettings()
