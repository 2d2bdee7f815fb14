"""Header lines of a mail, encoded here and not by `email.message`.

The standard library reads a value it is given as if it had come by mail: it decodes "=?utf-8?q?=0D=0ABcc:...?=" in a
subject, and writes a Bcc header (seen on Python 3.11.7). Here a value is text and nothing else; what looks like an
encoded word is encoded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.header import Header
from email.utils import quote
from urllib.parse import quote as percent_encoded

from tocsin_server.messages.mail.addresses import MailAddress, has_control

_LINE = 76  # RFC 2047: longest line with an encoded word in it
_FOLD = ",\r\n "
_PIECE = 60  # characters of a parameter in one line
# RFC 8187 attr-char, beside letters, digits and the "_.-~" that are never encoded.
_UNENCODED = "!#$&+^`|"


def header(name: str, text: str) -> bytes:
    """One header of free text, folded. The text has no control characters (ValueError)."""
    return _line(name, _encoded(text, name) if text else "")


def fixed_header(name: str, value: str) -> bytes:
    """One header of a value that machines read: ASCII, neither folded nor encoded."""
    return _line(name, value)


def address_header(name: str, mailboxes: Sequence[MailAddress]) -> bytes:
    """One header of addresses, one a line. UTF-8 where a mailbox needs SMTPUTF8, else ASCII."""
    return _line(name, _FOLD.join(_written(mailbox, name) for mailbox in mailboxes))


def parameter_header(name: str, value: str, parameter: str, text: str) -> bytes:
    """One header of a value that machines read, with one parameter of free text: `attachment; filename="a.pdf"`.

    Text that is long or not ASCII is cut into encoded pieces (RFC 2231), which all mail programs put together again.
    ValueError where the text has control characters.
    """
    if has_control(text):
        raise ValueError(f"{parameter}: a line break or another control character")
    if _is_plain(text) and len(text) <= _PIECE:
        return _line(name, f'{value};\r\n {parameter}="{quote(text)}"')
    encoded = [percent_encoded(c, safe=_UNENCODED) for c in text]
    pieces = [""]
    for character in encoded:
        if len(pieces[-1]) + len(character) > _PIECE:
            pieces.append("")
        pieces[-1] += character
    pieces[0] = f"UTF-8''{pieces[0]}"
    return _line(name, value + "".join(f";\r\n {parameter}*{i}*={piece}" for i, piece in enumerate(pieces)))


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode()


def _written(mailbox: MailAddress, header_name: str) -> str:
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
