"""All settings of the server, with their defaults."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, Field

from tocsin_server.settings.access import AuthSettings, TlsSettings
from tocsin_server.settings.groups import (
    AuditSettings,
    DrainSettings,
    EncryptionSettings,
    EventSettings,
    GatherSettings,
    HttpSettings,
    LeaseSettings,
    LogSettings,
    MailSettings,
    MetricsSettings,
    QuotaSettings,
    ReportSettings,
    RetentionSettings,
    RetrySettings,
    SmsSettings,
    TracingSettings,
)
from tocsin_server.settings.store import StoreSettings
from tocsin_server.settings.traffic import CallSettings, ConnectionSettings
from tocsin_server.settings.values import Duration, ListenAddress, Names, QueueNames
from tocsin_server.settings.web import WebSettings


class Settings(BaseModel, frozen=True, extra="forbid"):
    """All settings. Read them with `load`; in tests make them by keyword."""

    listen: ListenAddress = Field(default="127.0.0.1:50051", description="host:port to serve gRPC on.")
    health_listen: ListenAddress | None = Field(
        default=None,
        description="host:port that answers grpc.health.v1 and nothing else, in plaintext, for probes that speak no "
        "TLS. Absent: none.",
    )
    data: Path = Field(
        default=Path(".tocsin"),
        description="Folder of the embedded store, and of reports where `reports.folder` names none.",
    )
    handlers: Names = Field(default=(), description="Modules with handlers, as myapp.jobs or myapp.jobs:name.")
    queues: QueueNames = Field(default=(), description="Queues to run jobs of. None given: all.")
    dispatch: bool = Field(default=True, description="Run jobs; else serve RPCs only.")
    processes: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes that serve, on one address and one store. Each has slots of its own.",
    )
    concurrency: int = Field(default=20, ge=1, le=10_000, description="Jobs that run at once.")
    worker_version: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._+-]{0,63}$",
        description="Version of this server's own handlers, such as 2.11.0, where queues demand a lowest one.",
    )
    type_concurrency: int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Jobs of one type that run at once, where neither its handler nor the queue's settings say "
        "otherwise.",
    )
    tick: Duration = Field(
        default=timedelta(seconds=1),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="How often the store is asked in case a wake-up was lost: such a job is late by this much at most. "
        "Agenda's processEvery; a job that is woken for waits for no tick.",
    )
    production: bool = Field(
        default=False,
        description="Refuse to start where something is not as a production needs it; else that is a warning.",
    )
    reflection: bool | None = Field(
        default=None,
        description="Tell whoever asks which services there are and what their messages are, which grpcurl needs where "
        "it is given no protos. Absent: yes, but with `production` no.",
    )
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    store: StoreSettings = StoreSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    lease: LeaseSettings = LeaseSettings()
    drain: DrainSettings = DrainSettings()
    retry: RetrySettings = RetrySettings()
    retention: RetentionSettings = RetentionSettings()
    quotas: QuotaSettings = QuotaSettings()
    events: EventSettings = EventSettings()
    mail: MailSettings = MailSettings()
    sms: SmsSettings = SmsSettings()
    http: HttpSettings = HttpSettings()
    reports: ReportSettings = ReportSettings()
    gather: GatherSettings = GatherSettings()
    calls: CallSettings = CallSettings()
    connections: ConnectionSettings = ConnectionSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()

    @property
    def reflects(self) -> bool:
        """Whether reflection is served."""
        return not self.production if self.reflection is None else self.reflection
