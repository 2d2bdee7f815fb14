"""What stands below a mail's headers: text and HTML as alternatives, and files beside them."""

from __future__ import annotations

import base64
import mimetypes
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP

from tocsin_server.domain.formats import is_media_type
from tocsin_server.messages.errors import Refused
from tocsin_server.messages.mail.addresses import has_control
from tocsin_server.messages.mail.headers import fixed_header, parameter_header

_UNKNOWN = "application/octet-stream"
_LINE_BYTES = 57  # make 76 characters of base64, the most that RFC 2045 allows


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that is sent along."""

    filename: str
    content: bytes = field(repr=False)
    content_type: str = ""  # "": guessed from the name


def body(text: str, html: str, attachments: Sequence[Attachment] = ()) -> bytes:
    """The content's own headers, an empty line, the content. Refused where there is neither text nor HTML."""
    words = _words(text, html)
    if not attachments:
        return words
    # Not to be foreseen, so that nobody who writes a text can end it and put a file of his own behind.
    boundary = f"=_{secrets.token_hex(16)}"
    headers = [
        fixed_header("MIME-Version", "1.0"),
        fixed_header("Content-Type", f'multipart/mixed; boundary="{boundary}"'),
    ]
    # The line break before a boundary is the boundary's, so each part keeps its own.
    parts = [f"--{boundary}\r\n".encode() + part + b"\r\n" for part in (words, *map(_file, attachments))]
    return b"".join([*headers, b"\r\n", *parts, f"--{boundary}--\r\n".encode()])


def _words(text: str, html: str) -> bytes:
    # 7bit: no mail server on the way has to know 8BITMIME.
    message = EmailMessage(SMTP.clone(cte_type="7bit"))
    if text:
        message.set_content(text, cte=_encoding(text))
        if html:
            message.add_alternative(html, subtype="html", cte=_encoding(html))
    elif html:
        message.set_content(html, subtype="html", cte=_encoding(html))
    else:
        raise Refused("the mail has neither text nor html, and no template that makes them")
    return message.as_bytes()


def _encoding(body: str) -> str | None:
    # None: the shortest that fits. Control characters (NUL above all) may not be sent as they are.
    plain = body.translate({ord(c): None for c in "\t\r\n"})
    return "base64" if has_control(plain) else None


def _file(attachment: Attachment) -> bytes:
    name = attachment.filename
    if not name or has_control(name):
        raise Refused("attachments: a file name is empty, or has a line break or another control character")
    kind = attachment.content_type or _guessed(name)
    if not is_media_type(kind):
        raise Refused("attachments: a content_type is no media type such as application/pdf")
    content = attachment.content
    lines = [base64.b64encode(content[at : at + _LINE_BYTES]) for at in range(0, len(content), _LINE_BYTES)]
    headers = [
        fixed_header("Content-Type", kind),
        fixed_header("Content-Transfer-Encoding", "base64"),
        parameter_header("Content-Disposition", "attachment", "filename", name),
    ]
    return b"".join(headers) + b"\r\n" + b"\r\n".join(lines)


def _guessed(filename: str) -> str:
    kind, packed = mimetypes.guess_type(filename)
    if packed is not None:  # "a.tar.gz" is told to be a tar, packed with gzip
        return "application/gzip" if packed == "gzip" else _UNKNOWN
    return kind if kind is not None and is_media_type(kind) else _UNKNOWN
