"""E-mail addresses as payloads and settings write them: "ada@example.com" or "Ada <ada@example.com>".

Stricter than RFC 5322, which allows much that no mail server takes: no comments, no groups, no lists, no quoted local
part, no [IP address] as the domain. What is accepted here can be put into a header and an envelope as it is.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna

#: RFC 5321: a path is at most 256 octets with its angle brackets, so an address has 254; a local part 64.
ADDRESS_BYTES = 254
LOCAL_PART_BYTES = 64
NAME_CHARACTERS = 200

_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+\Z")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")  # "_": not a host name, but seen in mail
_ENCODED_WORD = re.compile(r"=\?.*\?=")  # mail programs may show, and answer to, what it decodes to
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\Z')
_NEEDS_QUOTES = frozenset('<>[]:;@\\,"')


class BadAddress(ValueError):
    """It is not an address; the message says why, and does not repeat it."""


@dataclass(frozen=True, slots=True)
class MailAddress:
    """One address. `domain` is ASCII (IDNA); `local` may have other letters, then only SMTPUTF8 servers take it."""

    name: str  # shown to people, "" for none
    local: str
    domain: str

    @property
    def address(self) -> str:
        """What stands in an envelope: local@domain."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server which offers SMTPUTF8 (RFC 6531) can take it."""
        return not self.local.isascii()


def parse_address(text: str) -> MailAddress:
    """The mailbox that `text` writes, or BadAddress.

    A name with one of < > [ ] : ; @ \\ , " in it must stand in double quotes, so that a list is never taken for a name.
    """
    if has_control(text):
        raise BadAddress("has a line break or another control character")
    text = text.strip()
    if not text:
        raise BadAddress("is empty")
    name = ""
    if text.endswith(">"):
        before, bracket, inner = text[:-1].rpartition("<")
        if not bracket:
            raise BadAddress("has a > without its <")
        name, text = _name(before.strip()), inner
    local, at, domain = text.rpartition("@")
    if not at:
        raise BadAddress("has no @")
    _check_local(local)
    mailbox = MailAddress(name, local, _domain(domain))
    if len(mailbox.address.encode()) > ADDRESS_BYTES:
        raise BadAddress(f"is longer than {ADDRESS_BYTES} bytes")
    return mailbox


def has_control(text: str) -> bool:
    """Whether anything in it could end a header line or is a control character: CR, LF, NUL, U+2028 and their like."""
    # Most texts are ASCII and printable: that test is done in C. Surrogates cannot be encoded, so they count too.
    return not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") for c in text)


def _name(text: str) -> str:
    if quoted := _QUOTED.match(text):
        text = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _NEEDS_QUOTES.intersection(text):
        raise BadAddress('has one of < > [ ] : ; @ \\ , " in its name: put the name in double quotes, one address only')
    if len(text) > NAME_CHARACTERS:
        raise BadAddress(f"has a name longer than {NAME_CHARACTERS} characters")
    return text


def _check_local(local: str) -> None:
    if not local:
        raise BadAddress("has nothing before the @")
    if len(local.encode()) > LOCAL_PART_BYTES:
        raise BadAddress(f"has more than {LOCAL_PART_BYTES} bytes before the @")
    if _ENCODED_WORD.search(local):
        raise BadAddress("has an encoded word, =?...?=, before the @")
    if not all(_ATOM.match(atom) for atom in local.split(".")) or _has_invisible(local):
        raise BadAddress("has a character before the @ that is not allowed there, or a dot without a neighbour")


def _has_invisible(text: str) -> bool:
    # Controls, formats (category C) and spaces other than ASCII's (Z) would make two addresses look alike.
    return any(unicodedata.category(c)[0] in "CZ" for c in text)


def _domain(domain: str) -> str:
    if not domain:
        raise BadAddress("has nothing after the @")
    if len(domain) > ADDRESS_BYTES:  # before IDNA, whose time grows faster than its input
        raise BadAddress(f"is longer than {ADDRESS_BYTES} bytes")
    labels = [label if label.isascii() else _ascii_label(label) for label in domain.split(".")]
    if not all(_LABEL.match(label) for label in labels):
        raise BadAddress("has a domain that is no domain name")
    return ".".join(labels)


def _ascii_label(label: str) -> str:
    """By IDNA 2008, where a letter is itself: that of 2003 makes another domain of it (fass.de of faß.de), or drops it.

    Capitals are taken as small ones, unless that would make an ASCII letter of another (the Kelvin sign).
    """
    small = "".join(letter if letter.isascii() else letter.lower() for letter in label)
    if small.encode("ascii", "ignore") == label.encode("ascii", "ignore"):
        try:
            return idna.alabel(small.lower()).decode("ascii")
        except idna.IDNAError:
            pass
    raise BadAddress("has a domain that is no domain name, or not in its own letters")
