"""Secrets stay out of what is written: the one place that knows how they look.

An address that is a setting is taken apart, and what is shown of it is put together anew from parts that are known to
be harmless (`show_address`, `show_origin`). In text of any kind the addresses can only be looked for (`redact_url`);
whoever knows the secrets that may turn up in it has them hidden as well (`secrets_in_url`, `without_secrets`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from urllib.parse import quote, unquote

HIDDEN = "***"

#: A shorter secret is too likely to be part of a harmless word; it is still hidden inside addresses.
SHORTEST_SECRET = 5

# The secret parts of an address in a text: the password before the "@", and options whose name speaks of a secret. A
# password may hold an "@" or a "/" that should have been quoted, so it is taken to reach to the last "@" before white
# space.
_PASSWORD = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)(?P<user>[^\s:@/?#]*):(?P<password>\S*)@")
_OPTION = re.compile(
    r"(?P<name>[?&;][^\s=&#]*(?:password|passwd|secret|token|authmechanismproperties)[^\s=&#]*=)(?P<value>[^\s&]*)",
    re.IGNORECASE,
)

_SCHEME = re.compile(r"(?P<scheme>(?:redis|rediss|unix|mongodb|smtp|smtps|http|https)(?:\+[a-z]+)?)://", re.IGNORECASE)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[\w.-]*)(?::\d{1,5})?")
_PATH = re.compile(r"/[\w./ +-]*")
_PLAIN = re.compile(r"[\w.,:/+-]*")

# Options of addresses of stores and mail servers whose values may be seen, in small letters.
_OPEN_OPTIONS = frozenset(
    "appname authmechanism authsource client_name compressors connecttimeoutms db directconnection "
    "health_check_interval heartbeatfrequencyms journal loadbalanced localthresholdms maxidletimems maxpoolsize "
    "minpoolsize protocol readconcernlevel readpreference readpreferencetags replicaset retryreads retrywrites "
    "sentinel_ssl serverselectiontimeoutms socket_connect_timeout socket_keepalive socket_timeout sockettimeoutms "
    "srvmaxhosts srvservicename ssl ssl_ca_certs ssl_ca_path ssl_cert_reqs ssl_certfile ssl_check_hostname ssl_keyfile "
    "ssl_min_version starttls timeoutms tls tlsallowinvalidcertificates tlsallowinvalidhostnames tlscafile "
    "tlscertificatekeyfile tlscrlfile tlsdisableocspendpointcheck tlsinsecure uuidrepresentation w waitqueuetimeoutms "
    "wtimeoutms".split()
)
# Options whose names may be seen, and whose values are secrets.
_SECRET_OPTIONS = frozenset(
    "authmechanismproperties password proxypassword proxyusername sentinel_password sentinel_username ssl_password "
    "tlscertificatekeyfilepassword username".split()
)


def show_address(address: str) -> str:
    """What may be seen of an address: "redis://ada:***@host:6379/0". "***" where it cannot be taken apart for sure.

    Hidden are the password, a user without one (who may be a token), and the options that are not known to be harmless.
    """
    if _is_folder(address):
        return address
    parts = _parts(address)
    if parts is None:
        return HIDDEN
    scheme, login, hosts, rest = parts
    user, colon, _ = login.partition(":")
    shown_login = "" if not login else f"{user}:{HIDDEN}@" if colon and _PLAIN.fullmatch(user) else f"{HIDDEN}@"
    rest, number_sign, _ = rest.partition("#")
    path, question, options = rest.partition("?")
    if path and not _PATH.fullmatch(path):
        return HIDDEN
    shown_options = "&".join(map(_shown_option, re.split("[&;]", options))) if options else ""
    return f"{scheme}{shown_login}{hosts}{path}{question}{shown_options}" + (f"#{HIDDEN}" if number_sign else "")


def show_origin(address: str) -> str:
    """What may be seen of an address all whose other parts may be secrets: "https://host:443". "***" as above."""
    if _is_folder(address):
        return address
    parts = _parts(address)
    return HIDDEN if parts is None else f"{parts[0]}{parts[2]}"


def _is_folder(address: str) -> bool:
    """file:FOLDER or file:///FOLDER, where nothing is secret; file://FOLDER is a mistake, which may be any."""
    scheme, _, rest = address.partition(":")
    return scheme.lower() == "file" and (not rest.startswith("//") or rest.startswith("///"))


def _parts(address: str) -> tuple[str, str, str, str] | None:
    """Scheme with "://", login, hosts, and what follows; None where there is a doubt which part is which."""
    match = _SCHEME.match(address)
    if match is None:
        return None
    after = address[match.end() :]
    end = next((place for place, character in enumerate(after) if character in "/?#"), len(after))
    login, _, hosts = after[:end].rpartition("@")
    rest = after[end:]
    # An "@" further on may be the real end of a password that holds a "/", "?" or "#".
    if "@" in rest or not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        return None
    return match[0], login, hosts, rest


def _shown_option(option: str) -> str:
    name, sign, value = option.partition("=")
    if not sign or name.lower() not in _OPEN_OPTIONS | _SECRET_OPTIONS:
        return HIDDEN
    return option if name.lower() in _OPEN_OPTIONS and _PLAIN.fullmatch(value) else f"{name}={HIDDEN}"


def redact_url(text: str) -> str:
    """The text with the passwords of all addresses in it hidden; what comes back can be shown and logged."""
    if "://" not in text:
        return text
    hidden = _PASSWORD.sub(rf"\g<scheme>\g<user>:{HIDDEN}@", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", hidden)


def secrets_in_url(address: str) -> list[str]:
    """The secrets of an address, as they stand in it and as they are meant, so that they can be hidden elsewhere."""
    _, _, after = address.partition("://")
    found = [match["value"] for match in _OPTION.finditer(address)]
    found += [value.partition(":")[2] for value in found]  # a property of authMechanismProperties
    first = next((place for place, character in enumerate(after) if character in "/?#"), len(after))
    # Where an "@" stands in what follows the host, either end may be meant.
    for login, at, _ in (after.rpartition("@"), after[:first].rpartition("@")):
        if at:
            user, colon, password = login.partition(":")
            found.append(password if colon else user)
    return list(dict.fromkeys(secret for quoted in found for secret in (quoted, unquote(quoted)) if secret))


def secrets_beyond_origin(address: str) -> list[str]:
    """The secrets of an address of which the origin alone may be seen: its login, path and options."""
    if _is_folder(address):
        return []
    if _parts(address) is None:
        return [address]
    _, _, after = address.partition("://")
    _, slash, path = after.partition("/")
    path, _, options = path.partition("?")
    values = [value for option in re.split("[&;]", options) for value in (option, option.partition("=")[2])]
    found = [*secrets_in_url(address), slash + path if path else "", options, *values]
    return list(dict.fromkeys(secret for quoted in found for secret in (quoted, unquote(quoted)) if secret))


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with `secrets` hidden, also quoted for an address or for Python; short ones are let be."""
    for secret in sorted(spelled(secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def spelled(secrets: Iterable[str]) -> Collection[str]:
    """The ways in which the secrets may be written; those too short to be looked for are left out."""
    return {
        way
        for secret in secrets
        for way in (secret, quote(secret, safe=""), repr(secret)[1:-1])
        if len(secret) >= SHORTEST_SECRET
    }


class Secrets:
    """Secrets that are hidden wherever they turn up; more may come to be known."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Hide these, too."""
        self._known |= set(spelled(secrets))
        known = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, known))) if known else None

    def add_value(self, text: str) -> None:
        """The new value of a setting that is a secret, or an address with one."""
        self.add([text, *secrets_in_url(text)])

    def hide(self, text: str) -> str:
        """The text with them hidden, and with the passwords of all addresses in it."""
        text = redact_url(text)
        return self._pattern.sub(HIDDEN, text) if self._pattern is not None else text
