"""Header lines of a mail, encoded here and not by `email.message`.

The standard library reads a value it is given as if it had come by mail: it decodes "=?utf-8?q?=0D=0ABcc:...?=" in a
subject, and writes a Bcc header (seen on Python 3.11.7). Here a value is text and nothing else; what looks like an
encoded word is encoded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.header import Header
from email.utils import quote

from tocsin_server.domain.addresses import Mailbox, has_control

_LINE = 76  # RFC 2047: longest line with an encoded word in it
_FOLD = ",\r\n "


def header(name: str, text: str) -> bytes:
    """One header of free text, folded. The text has no control characters (ValueError)."""
    return _line(name, _encoded(text, name) if text else "")


def fixed_header(name: str, value: str) -> bytes:
    """One header of a value that machines read: ASCII, neither folded nor encoded."""
    return _line(name, value)


def address_header(name: str, mailboxes: Sequence[Mailbox]) -> bytes:
    """One header of addresses, one a line. UTF-8 where a mailbox needs SMTPUTF8, else ASCII."""
    return _line(name, _FOLD.join(_written(mailbox, name) for mailbox in mailboxes))


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode()


def _written(mailbox: Mailbox, header_name: str) -> str:
    if not mailbox.name:
        return mailbox.address
    if _is_plain(mailbox.name):
        return f'"{quote(mailbox.name)}" <{mailbox.address}>'
    return f"{_encoded(mailbox.name, header_name)}\r\n <{mailbox.address}>"


def _encoded(text: str, header_name: str) -> str:
    if has_control(text):
        raise ValueError(f"{header_name}: a line break or another control character")
    # A word too long to be folded is encoded too: encoded words can be cut anywhere.
    plain = _is_plain(text) and max(map(len, text.split(" "))) < _LINE - len(header_name)
    charset = "us-ascii" if plain else "utf-8"
    return Header(text, charset, maxlinelen=_LINE, header_name=header_name).encode(linesep="\r\n")


def _is_plain(text: str) -> bool:
    return text.isascii() and "=?" not in text
