"""The settings of the dashboard."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from tocsin_server.settings.values import Duration, ListenAddress, Names

_ROOT = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){0,10}\Z")


def _root(path: str) -> str:
    path = path.rstrip("/")
    if not _ROOT.match(path) or "/." in path:
        raise ValueError("write a path that begins with /, as in /tocsin")
    return path


def _secret(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError("it is too short: use 32 characters or more, drawn at random")
    return value


class WebSettings(BaseModel, frozen=True, extra="forbid"):
    """The dashboard, a page over HTTP. With `tls.cert_file` it speaks TLS, by the same files as gRPC."""

    listen: ListenAddress | None = Field(
        default=None,
        description="host:port to serve the dashboard on. With `processes` all share it. Absent: none is served; "
        "`tocsin dev` serves one on 127.0.0.1:50080.",
    )
    root_path: Annotated[str, AfterValidator(_root)] = Field(
        default="",
        description="Path below which a proxy shows the dashboard, as /tocsin; whether the proxy takes it away does "
        "not matter.",
    )
    hosts: Names = Field(
        default=(),
        description="Names by which browsers reach it where nobody has to log in; localhost and addresses need not be "
        "named. Others are refused, so that no foreign page can lead a browser here.",
    )
    secret: Annotated[SecretStr, AfterValidator(_secret)] | None = Field(
        default=None,
        description="Seals the cookies of those who logged in, the same for all servers. Absent: it is made from the "
        "hashes of all tokens, and everybody logs in anew when one is added or revoked.",
    )
    session: Duration = Field(
        default=timedelta(hours=12),
        ge=timedelta(minutes=1),
        le=timedelta(days=30),
        description="How long a login lasts.",
    )
    streams: int = Field(
        default=500, ge=1, le=10_000, description="Pages at once that are kept up to date, by one server process."
    )
