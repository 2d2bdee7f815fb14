"""What stands between these settings and a production: with `production` a server refuses to start with any of it."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from tocsin_server.settings.fields import all_values, dotted
from tocsin_server.settings.model import Settings
from tocsin_server.settings.secret_files import FileSecret
from tocsin_server.settings.showing import secrets_of
from tocsin_server.settings.values import is_loopback
from tocsin_server.telemetry.redaction import SHORTEST_SECRET, secrets_in_url

#: Who may have a look into a file with a secret: its owner, and a group that may not write it.
_SECRET_MODE = 0o640


def unfit_for_production(settings: Settings, arguments: Sequence[str] = sys.argv) -> list[str]:
    """A line for each condition, with what to do. `arguments` are the command line's. The store is not asked here."""
    return [
        *_listening(settings),
        *_dashboard(settings),
        *_store(settings),
        *_files(settings),
        *_outboxes(settings),
        *_process(settings, arguments),
    ]


def store_unfit_for_production(*, keeps_nothing: bool) -> list[str]:
    """The same of what only the store itself can tell."""
    if keeps_nothing:
        return ["the store keeps nothing over a restart: switch on its persistence (appendonly yes)"]
    return []


def _listening(settings: Settings) -> Iterator[str]:
    if not is_loopback(settings.listen) and settings.tls.cert_file is None:
        yield f"listen: other machines can reach {settings.listen} without TLS: set tls.cert_file and tls.key_file"
    if settings.tls.client_ca_file is None and settings.auth.principals_file is None:
        yield (
            "auth: whoever reaches the server may do everything: set auth.principals_file, or tls.client_ca_file, so "
            "that clients show a certificate"
        )
    if settings.reflection and (settings.production or not is_loopback(settings.listen)):
        yield "reflection: it tells whoever asks what there is to call: set it to no"


def _dashboard(settings: Settings) -> Iterator[str]:
    web = settings.web
    if web.listen is None:
        return
    if not is_loopback(web.listen) and settings.tls.cert_file is None:
        yield (
            f"web.listen: other machines can reach the dashboard on {web.listen} without TLS: set tls.cert_file and "
            "tls.key_file, or listen on 127.0.0.1 behind a proxy that speaks TLS"
        )


def _store(settings: Settings) -> Iterator[str]:
    store = settings.store
    if store.embedded:
        return
    for where, encrypted, has_login in _ways(store.address()):
        if not where:
            continue
        if not encrypted:
            yield f"store: the way to {where} is not encrypted: use rediss:// or tls=true, or a store on this machine"
        if not has_login:
            yield f"store: {where} asks for no password: give its users passwords, and Tocsin one of them"


def _ways(address: str) -> Iterator[tuple[str, bool, bool]]:
    """For a store on other machines: its first host, whether the way is encrypted, whether there is a login."""
    scheme, _, rest = address.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    hosts = [host for host in authority.rpartition("@")[2].split(",") if host]
    if scheme == "unix" or all(is_loopback(host if ":" in host else f"{host}:0") for host in hosts):
        return
    options = urlsplit(address.replace(",", "%2C")).query.lower()
    tls = scheme.startswith("rediss") or bool(re.search(r"(^|&)(tls|ssl)=true", options))
    if scheme == "mongodb+srv":  # TLS is its default
        tls = not re.search(r"(^|&)(tls|ssl)=false", options)
    certificate = "authmechanism=mongodb-x509" in options or "ssl_certfile=" in options
    yield hosts[0].rpartition("@")[2], tls, bool(secrets_in_url(address)) or certificate


def _files(settings: Settings) -> Iterator[str]:
    for place, value in all_values(settings):
        if isinstance(value, FileSecret) and _mode(value.path) & ~_SECRET_MODE & 0o777:
            yield f"{dotted(place)}_file: others may read or change that file: give it mode 0640 or less"
    folder = settings.data
    if settings.store.embedded and folder.exists() and _mode(folder) & 0o077:
        yield "data: others can enter the data folder: give it mode 0700"
    key = settings.tls.key_file
    if key is not None and key.exists() and _mode(key) & ~_SECRET_MODE & 0o777:
        yield "tls.key_file: others may read or change the key: give it mode 0640 or less"
    principals = settings.auth.principals_file
    if principals is not None and _mode(principals) & 0o022:
        yield "auth.principals_file: others may change it, and let themselves in: give it mode 0644 or less"


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:  # told where it is used
        return 0


def _outboxes(settings: Settings) -> Iterator[str]:
    for name, secret in (("mail.transport", settings.mail.transport), ("sms.url", settings.sms.url)):
        if isinstance(secret, SecretStr) and secret.get_secret_value().lower().startswith("file:"):
            yield f"{name}: it writes into a folder, and nobody gets what is sent: name a server"


def _process(settings: Settings, arguments: Sequence[str]) -> Iterator[str]:
    shown = "\0".join(arguments)
    if any(secret in shown for secret in secrets_of(settings) if len(secret) >= SHORTEST_SECRET):
        yield "a secret stands on the command line, where all users of the machine see it: put it into a file"
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        yield "the server runs as root: give it a user of its own"
    mask = _umask()
    if mask is not None and mask & 0o022 != 0o022:
        yield f"umask {mask:03o} lets others change files that handlers make: set 027 or 077"


def _umask() -> int | None:
    """This process's, without changing it for a moment; None where the system does not tell."""
    try:
        said = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^Umask:\s*([0-7]+)$", said, re.MULTILINE)
    return int(found[1], 8) if found else None
