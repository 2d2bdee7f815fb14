"""Who gets something: e-mail addresses and telephone numbers."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_server.api.validation.violations import Violations
from tocsin_server.domain.formats import is_e164
from tocsin_server.messages.mail.addresses import BadAddress, parse_address

_MOST_RECIPIENTS = 100


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
