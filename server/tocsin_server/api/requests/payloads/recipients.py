"""Who gets something, by which template, and in which zone: e-mail addresses, telephone numbers, names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tocsin_server.api.requests.violations import Violations
from tocsin_server.domain.formats import is_e164
from tocsin_server.domain.time_zones import UnknownZone, zone_of
from tocsin_server.messages.mail.addresses import BadAddress, parse_address

_MOST_RECIPIENTS = 100
_TEMPLATE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


def check_addresses(wrong: Violations, path: str, values: Sequence[str], *, least: int = 0) -> None:
    """Up to 100 e-mail addresses."""
    if wrong.count(path, values, _MOST_RECIPIENTS, least=least):
        for i, value in enumerate(values):
            check_address(wrong, f"{path}[{i}]", value)


def check_address(wrong: Violations, path: str, value: str) -> None:
    """One e-mail address, which must be there."""
    try:
        parse_address(value)
    except BadAddress as error:
        wrong.add(path, f"{error}; write it as ada@example.com or Ada <ada@example.com>")


def check_numbers(wrong: Violations, path: str, values: Sequence[str], *, least: int = 0) -> None:
    """Up to 100 telephone numbers in E.164 form."""
    if wrong.count(path, values, _MOST_RECIPIENTS, least=least):
        for i, value in enumerate(values):
            if not is_e164(value):
                wrong.add(f"{path}[{i}]", "is no number in E.164 form such as +4915112345678")


def check_template(wrong: Violations, path: str, name: str) -> None:
    """The name of a template; empty is none."""
    if name and not _TEMPLATE.match(name):
        wrong.add(path, "is no template name: 1 to 100 of A-Z a-z 0-9 . _ - are allowed")


def check_zone(wrong: Violations, path: str, name: str) -> None:
    """The zone in which times are shown; empty is UTC."""
    try:
        zone_of(name)
    except UnknownZone:
        wrong.add(path, "is no IANA time zone such as Europe/Berlin")
