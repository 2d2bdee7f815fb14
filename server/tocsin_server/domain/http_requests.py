"""What may stand in an HTTP request that a job makes: its address, method and headers. Names and addresses behind the
host are looked at when it is sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from urllib.parse import SplitResult, urlsplit

from tocsin_server.domain.record import record

#: The type of jobs that are requests by themselves: no push target is theirs.
HTTP_REQUEST = "http_request"

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
URL_CHARACTERS = 2_048
HEADERS = 50
HEADER_VALUE_BYTES = 4 << 10
BODY_BYTES = 512 << 10
MAX_TIMEOUT = timedelta(hours=1)
DEFAULT_TIMEOUT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(days=1)  # who names a longer one is asked again after that
SECRET_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")

#: Refused in a job's headers. Those of the connection would let a request end where another begins, or go elsewhere
#: than to its address; an answer in an encoding would have to be unpacked, however large it gets.
_OF_THE_SERVER = frozenset(
    {
        *("host", "content-length", "connection", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive"),
        *("expect", "accept-encoding", "idempotency-key"),
    }
)
_OF_THE_SERVER_TOO = ("proxy-", "tocsin-")

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")  # RFC 9110, a token
_HEADER_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?\Z")
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*\Z")
#: What a resolver may take for a number of an IPv4 address: 2130706433, 0x7f.1, 017700000001.
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_NEVER = frozenset('\\"<>^`{|} ')
_PORTS = {"http": 80, "https": 443}


class UnfitAddress(ValueError):
    """A URL that no request is made to. Says why, without the URL."""


@record
class WebAddress:
    """Where a request goes."""

    scheme: str  # http or https
    host: str  # a name in lower case, or an address as it is written; an IPv6 one without its brackets
    port: int
    target: str  # path and query
    literal: bool  # the host is an address

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What may be shown of it: neither path nor query, which may hold keys."""
        return f"{self.scheme}://{self.authority}"


def web_address(url: str) -> WebAddress:
    """A URL taken apart. UnfitAddress.

    One that two readers may understand differently is refused, so that what was checked is what is connected to.
    """
    if len(url) > URL_CHARACTERS:
        raise UnfitAddress(f"has {len(url):,} characters, at most {URL_CHARACTERS:,} are allowed")
    if not url.isascii() or not url.isprintable() or _NEVER & set(url):
        raise UnfitAddress("has a character that a URL must have in another form: %20 for a space, xn--... in a host")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnfitAddress("is no URL: its port or its IPv6 address cannot be read") from None
    if parts.scheme not in _PORTS or not url[len(parts.scheme) :].startswith("://"):
        raise UnfitAddress("does not begin with http:// or https://")
    if "@" in parts.netloc:
        raise UnfitAddress("has a user or password: send them in a header")
    if "#" in url:
        raise UnfitAddress("has a #fragment, which is never sent")
    if port == 0:
        raise UnfitAddress("has port 0")
    host, literal = _host(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(parts.scheme, host, port or _PORTS[parts.scheme], target, literal)


def _host(parts: SplitResult) -> tuple[str, bool]:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        try:
            address = IPv6Address(host)
        except AddressValueError:
            raise UnfitAddress("has no IPv6 address between its brackets") from None
        if address.scope_id:
            raise UnfitAddress("names the link of an address")
        return str(address), True
    if not host:
        raise UnfitAddress("has no host")
    if _NUMBER.match(host.rstrip(".").rpartition(".")[2]):
        try:
            return str(IPv4Address(host)), True
        except AddressValueError:
            raise UnfitAddress("has a number for its host: write an IPv4 address as four numbers, 192.0.2.1") from None
    host = host.removesuffix(".")  # it says that the name is whole; certificates have it without
    if len(host) > 253 or not _HOST.match(host):
        raise UnfitAddress("has no host that can be looked up: A-Z a-z 0-9 - _ and dots between")
    return host, False


def allowed(entries: Collection[str]) -> tuple[frozenset[str], Sequence[IPv4Network | IPv6Network]]:
    """Names and networks that requests may go to, from one list. ValueError names the entry that is neither."""
    names, networks = set(), []
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            name = entry.lower()
            if not _HOST.match(name) or _NUMBER.match(name.rpartition(".")[2]):
                raise ValueError(f"{entry!r} is neither a host's name nor a network such as 10.0.0.0/8") from None
            names.add(name)
    return frozenset(names), networks


def wait_of(header: str | None, now: datetime) -> timedelta | None:
    """The wait that a Retry-After header names (RFC 9110: seconds, or a date), at most a day; None: it names none."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        wait = timedelta(seconds=int(text)) if len(text) <= 9 else _LONGEST_WAIT
    else:
        try:
            then = parsedate_to_datetime(text)
            wait = (then if then.tzinfo else then.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):
            return None
    return min(wait, _LONGEST_WAIT) if wait > timedelta(0) else None


def unfit_headers(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Headers that cannot be sent, and why."""
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _HEADER_NAME.match(name):
            yield name[:100], "is no name of a header"
        elif lower in _OF_THE_SERVER or lower.startswith(_OF_THE_SERVER_TOO):
            yield name, "is set by the server"
        elif lower in seen:
            yield name, "stands there twice"
        elif len(value) > HEADER_VALUE_BYTES:
            yield name, f"has {len(value):,} characters, at most {HEADER_VALUE_BYTES:,} are allowed"
        elif not _HEADER_VALUE.match(value):
            yield name, "has a line break, a space at its edge, or a character that is not ASCII"
        seen.add(lower)
