"""The groups of settings, but for the store's: each a table of the TOML file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from tocsin_server.domain import limits
from tocsin_server.domain.retry import Backoff, RetryPolicy
from tocsin_server.domain.times import MILLISECOND
from tocsin_server.settings.values import (
    AllowedHosts,
    ByteSize,
    Duration,
    ListenAddress,
    Names,
    Prefixes,
    QueueNumbers,
    Secrets,
)

_RETRY = RetryPolicy()


def _audit(to: str) -> str:
    if to not in ("stdout", "syslog") and not (to.startswith("file:") and len(to) > len("file:")):
        raise ValueError("write file:PATH, stdout or syslog")
    return to


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


class RetrySettings(BaseModel, frozen=True, extra="forbid"):
    """When the next attempt follows a failed one, where job, type and queue say nothing."""

    max_attempts: int = Field(
        default=_RETRY.max_attempts,
        ge=1,
        le=limits.MAX_ATTEMPTS,
        description="Attempts of a job in all, the first included.",
    )
    backoff: Literal["exponential", "fixed"] = Field(
        default="exponential" if _RETRY.backoff is Backoff.EXPONENTIAL else "fixed",
        description="How waits grow: exponential doubles with each failure up to max_delay, fixed stays.",
    )
    initial_delay: Duration = Field(
        default=_RETRY.initial_delay,
        ge=MILLISECOND,
        le=limits.MAX_INITIAL_DELAY,
        description="Wait after the first failure; not above max_delay.",
    )
    max_delay: Duration = Field(
        default=_RETRY.max_delay, ge=MILLISECOND, le=limits.MAX_BACKOFF, description="No wait is longer."
    )
    jitter: float = Field(
        default=_RETRY.jitter,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of each wait drawn at random, 0 to 1, so that jobs failing together part.",
    )

    @model_validator(mode="after")
    def _agree(self) -> RetrySettings:
        if self.initial_delay > self.max_delay:
            raise ValueError("initial_delay is above max_delay; raise max_delay, or lower initial_delay")
        return self


class RetentionSettings(BaseModel, frozen=True, extra="forbid"):
    """How long ended jobs stay where job, type and queue say nothing, and how many of them a queue keeps."""

    completed_for: Duration = Field(
        default=timedelta(hours=24),
        ge=timedelta(0),
        le=limits.MAX_RETENTION,
        description="Age at which COMPLETED and CANCELLED jobs go.",
    )
    failed_for: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(0),
        le=limits.MAX_RETENTION,
        description="Age at which FAILED jobs go.",
    )
    completed_max: int = Field(
        default=10_000, ge=0, le=10_000_000, description="COMPLETED and CANCELLED jobs of a queue."
    )
    failed_max: int = Field(default=100_000, ge=0, le=10_000_000, description="FAILED jobs of a queue.")


class QuotaSettings(BaseModel, frozen=True, extra="forbid"):
    """How much the store may hold, so that no caller fills it or makes every server slow."""

    queues: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Names of queues. A new one beyond it is refused with RESOURCE_EXHAUSTED.",
    )
    jobs_per_queue: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Jobs that stand in a queue, ended ones included. Absent: any number.",
    )
    jobs_in_queues: QueueNumbers = Field(
        default=(),
        description="Another number for some queues, by name or by how names begin: orders=5000, mail.*=100000. 0: any "
        "number. Of several that fit the name itself holds, then the longest beginning.",
    )
    payload_bytes: ByteSize | None = Field(
        default=None,
        ge=1 << 10,
        le=1 << 20,
        description="Bytes of a job's payload, imports left alone. Absent: as many as a job may have, 1 MiB.",
    )
    forget_unused_for: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(minutes=1),
        le=limits.MAX_RETENTION,
        description="A queue without jobs, settings and reminder sets is forgotten once nothing changed in it for so "
        "long.",
    )


class EncryptionSettings(BaseModel, frozen=True, extra="forbid"):
    """Encryption of what stands in the store."""

    keyring_file: Path | None = Field(
        default=None,
        description="File of the keys that payloads, results and the like are encrypted with in the store, made by "
        "`tocsin keys create FILE`; each second it is looked whether it changed. Absent: they are stored clear, and an "
        "encrypted store is refused.",
    )


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
    """Outgoing mail, for jobs of type email_notification and reminders."""

    transport: SecretStr | None = Field(
        default=None,
        description="smtp://user:password@host:port, smtps://..., or file:FOLDER, which writes an .eml a mail. "
        "Absent: such jobs fail and say so.",
    )
    sender: str | None = Field(default=None, description="From, for mails that name none.")
    name: str | None = Field(
        default=None,
        max_length=100,
        description="Who you are: it stands above reminders. Absent: the name in `sender`.",
    )
    colour: str = Field(
        default="#1d4ed8",
        pattern="^#[0-9a-fA-F]{6}$",
        description="Colour of the bar above reminders and of their buttons, #RRGGBB.",
    )
    allowed_senders: Names = Field(
        default=(),
        description="In whose name mail may be sent: ada@example.com, or @example.com for all there. None given: "
        "anybody's.",
    )
    allowed_recipient_domains: Names = Field(
        default=(),
        description="Domains to which mail may go: example.com, or *.example.com for those below it. None given: all.",
    )
    max_recipients_per_hour: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Recipients of mail in any hour, by one server process."
    )
    templates: Path | None = Field(
        default=None, description="Folder of your templates; a file in it goes before its namesake among ours."
    )


class SmsSettings(BaseModel, frozen=True, extra="forbid"):
    """Outgoing text messages, for jobs of type sms_notification and reminders."""

    url: SecretStr | None = Field(
        default=None,
        description="Where messages are posted: https://api.twilio.com, a whole address, or file:FOLDER, which writes "
        "a .json a message. Absent: such jobs fail and say so.",
    )
    form: Literal["twilio", "json"] = Field(
        default="twilio", description="How they are posted: as Twilio's API wants it, or as JSON objects."
    )
    user: str | None = Field(default=None, description="Who posts them; at Twilio the account's SID.")
    password: SecretStr | None = Field(
        default=None, description="Password of that user; without a user it is sent as a bearer token."
    )
    sender: str | None = Field(default=None, description="Number or name, for messages that name none.")
    allowed_prefixes: Prefixes = Field(
        default=(), description="How numbers must begin that messages may go to, as +49 or +4915. None given: anyhow."
    )
    allowed_senders: Names = Field(
        default=(), description="Numbers and names in which messages may be sent. None given: any."
    )
    max_per_hour: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Text messages in any hour, by one server process."
    )


class HttpSettings(BaseModel, frozen=True, extra="forbid"):
    """Requests to other programs: jobs of type http_request, and those of types with a push target."""

    concurrency: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Requests at once, beside `concurrency`, where the queue's settings have no number for the type.",
    )
    secrets: Secrets = Field(
        default_factory=dict,
        description="Secrets that sign requests, by name, of 16 characters or more: orders=SECRET, or orders=NEW OLD "
        "while one is rotated. In the file a table of texts or lists.",
    )
    allow: AllowedHosts = Field(
        default=(),
        description="Hosts, addresses and networks that requests may go to besides those on the internet: 10.1.0.0/16, "
        "intranet.example.",
    )
    allow_private: bool = Field(
        default=False,
        description="Requests may go to this machine and to private networks. `tocsin dev` sets it.",
    )


class ReportSettings(BaseModel, frozen=True, extra="forbid"):
    """What jobs of type report_generation write."""

    folder: Path | None = Field(
        default=None, description="Folder of the reports; made when the first is written. Absent: reports, in `data`."
    )


class GatherSettings(BaseModel, frozen=True, extra="forbid"):
    """How single calls are gathered into one call of the store."""

    wait: Duration = Field(
        default=timedelta(milliseconds=3),
        ge=timedelta(0),
        le=timedelta(milliseconds=100),
        description="How long a schedule call waits for company while several are in flight; a lone one never waits.",
    )


class MetricsSettings(BaseModel, frozen=True, extra="forbid"):
    """What is told to Prometheus, over HTTP at /metrics."""

    listen: ListenAddress | None = Field(
        default=None,
        description="host:port to serve metrics on, in plaintext and to anybody. With `processes` the first takes "
        "this port, the next ones those after it. Absent: none are served.",
    )
    every: Duration = Field(
        default=timedelta(seconds=5),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="How often the figures of queues that have changed are read from the store, whoever scrapes.",
    )
    queues: int = Field(
        default=1_000,
        ge=1,
        le=10_000,
        description="Queues that are told apart, the first by name; the others are added up as `other`.",
    )


class TracingSettings(BaseModel, frozen=True, extra="forbid"):
    """Spans of calls and of attempts, sent by OTLP as the variables OTEL_* say."""

    enabled: bool = Field(
        default=False,
        description="Send a span for each call and each attempt by OTLP, as the variables OTEL_* say. Needs the extra "
        "`otel`.",
    )


class AuditSettings(BaseModel, frozen=True, extra="forbid"):
    """A line for each change and each caller who was turned away."""

    to: Annotated[str, AfterValidator(_audit)] | None = Field(
        default=None, description="file:PATH, stdout or syslog. Absent: no audit log."
    )
    include_reads: bool = Field(default=False, description="Lines for calls that change nothing, too.")
    required: bool = Field(
        default=False, description="Refuse calls while their lines cannot be written, and do not start without them."
    )


class LogSettings(BaseModel, frozen=True, extra="forbid"):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is written."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="console, json (a line each), or auto: console on a terminal, else json; `tocsin dev` has lines of "
        "its own.",
    )
    texts: bool = Field(
        default=False,
        description="Write also what users' code said: messages and traces of jobs' errors, words of progress, reasons "
        "of cancels. They may hold what payloads hold.",
    )
