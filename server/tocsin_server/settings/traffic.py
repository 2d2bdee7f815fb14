"""The settings of calls and connections: what callers may hold of a server, and for how long."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field

from tocsin_server.settings.values import ByteSize, Duration, Names


class CallSettings(BaseModel, frozen=True, extra="forbid"):
    """How many calls may be open at once, and how much they may hold. More are refused, to be repeated later."""

    open: int = Field(default=10_000, ge=10, le=100_000, description="Calls that are answered once.")
    watches: int = Field(default=1_000, ge=1, le=100_000, description="Watches.")
    watches_per_client: int = Field(
        default=500,
        ge=1,
        le=100_000,
        description="Watches of one client, known by its principal's name, else by its address: all behind one proxy.",
    )
    workers: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Workers that wait for jobs: their streams, and calls of LeaseJobs.",
    )
    transfers: int = Field(default=16, ge=1, le=1_000, description="Exports and imports.")
    open_per_client: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Calls that are answered once, of one client: of a principal, or else of one address, so of all "
        "behind one proxy. Absent: any number.",
    )
    workers_per_client: int | None = Field(
        default=None, ge=1, le=100_000, description="Workers of one client that wait for jobs. Absent: any number."
    )
    transfers_per_client: int = Field(
        default=8,
        ge=1,
        le=1_000,
        description="Exports and imports of one client, known likewise.",
    )
    idle: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="An export that nobody reads, an import that sends nothing, and any call whose request does not "
        "come, is ended after so long.",
    )
    request_bytes: int = Field(
        default=128 << 20,
        ge=40 << 20,
        le=1 << 40,
        description="Bytes of all requests under way, those compressed counted inflated.",
    )
    request_bytes_per_client: int | None = Field(
        default=None,
        ge=20 << 20,
        le=1 << 40,
        description="The same of one client. Absent: as many as of all.",
    )
    per_second_per_client: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Calls that one client begins a second; more are refused with RESOURCE_EXHAUSTED and the time "
        "until there is room. Absent: any number.",
    )
    burst_per_client: int = Field(
        default=100, ge=1, le=1_000_000, description="How many of them it may begin at once, after a pause."
    )
    exempt_clients: Names = Field(
        default=(),
        description="Principals and addresses for whom nothing is bounded by client, such as a proxy or a dashboard.",
    )


class ConnectionSettings(BaseModel, frozen=True, extra="forbid"):
    """How long clients' connections last. Clients make new ones by themselves."""

    max_age: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(seconds=1),
        le=timedelta(days=7),
        description="Age, a tenth more or less, at which a client is asked to make another connection, so that clients "
        "spread over servers.",
    )
    max_age_grace: Duration = Field(
        default=timedelta(minutes=30),
        ge=timedelta(seconds=1),
        le=timedelta(days=7),
        description="How long calls that are open then may go on; after it they are cut. Watches of Tocsin's clients "
        "go on where they were.",
    )
    max_idle: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(seconds=1),
        le=timedelta(days=7),
        description="A connection without any call is closed after so long.",
    )
    per_address: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Connections of one client: of one address, so of all behind one proxy. Those beyond are closed "
        "within a second, the ones that never called first. Linux only. Absent: any number.",
    )
    handshake_timeout: Duration = Field(
        default=timedelta(seconds=20),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=5),
        description="A connection that has not begun to speak HTTP/2 by then, or TLS where that is spoken, is closed.",
    )
    keepalive_time: Duration = Field(
        default=timedelta(seconds=60),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="A client of whom nothing was heard for so long is asked whether it is there.",
    )
    keepalive_timeout: Duration = Field(
        default=timedelta(seconds=20),
        ge=timedelta(seconds=1),
        le=timedelta(minutes=10),
        description="The connection of one that does not say so within this time is closed, and its watches end.",
    )
    min_ping_interval: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(0),
        le=timedelta(hours=1),
        description="A client without a call that asks the same more often is sent away (GOAWAY). 0s: as often as it "
        "likes.",
    )
    max_streams: int | None = Field(
        default=None,
        ge=10,
        le=200_000,
        description="Calls that may be open on one connection; a client makes further ones wait for these. Absent: as "
        "many as may be open in all.",
    )
    max_metadata_bytes: ByteSize = Field(
        default=32 << 10,
        ge=8 << 10,
        le=1 << 20,
        description="Bytes of a call's metadata, as 32KiB; with more it is refused, and from half of it on it may be.",
    )
