"""What stands in folders of this server: mails and text messages that were written instead of sent, and reports.

They are shown to those who may see payloads and reach all queues: a file does not tell which queue it is of.

Several servers behind one address have a folder each, unless they are given one that all share. So a list says whose it
is and who else may have one, and its links carry the server's name: one that leads to another server says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from starlette.responses import Response
from tocsin import NotFound, PermissionDenied
from tocsin.v1 import worker_service_pb2

from tocsin_server.web.guard import FOREIGN_POLICY
from tocsin_server.web.visit import Visit

#: Files that are listed, the newest ones; bytes of one that is read; and bytes of each that a list looks at, which are
#: the headers of a mail or a whole text message.
_LISTED, _MOST_BYTES, _HEAD_BYTES = 200, 32 << 20, 64 << 10

#: A link in a folder may lead to any file of the server, and to open a pipe may take for ever.
_PLAIN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

#: What the library's parsers raise for what is neither a mail nor JSON, besides the errors that they document.
_NOT_OURS = (ValueError, LookupError, AttributeError, TypeError, RecursionError)

#: Who writes to each: what the server does itself, of these types. Servers that are named; more are counted.
_MESSAGES = ("email_notification", "sms_notification", "booking_reminder", "payment_reminder", "report_generation")
_NAMED = 5

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,300}\Z")
_REPORTS = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8", "json": "application/json"}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as a list shows it."""

    name: str
    time: datetime
    size: int
    to: str = ""
    subject: str = ""
    kind: str = ""


async def outbox(visit: Visit) -> Response:
    """The mails and text messages, the newest first."""
    _check(visit)
    found = await asyncio.to_thread(_messages, visit.site.outboxes)
    others = await _others(visit, _MESSAGES)
    return visit.page(
        "outbox.html", "Outbox", found=found, most=_LISTED, folders=visit.site.outboxes, others=others, named=_NAMED
    )


async def message(visit: Visit) -> Response:
    """One of them."""
    _check(visit)
    name = visit.query("name")
    raw = await _file(visit, visit.site.outboxes)
    try:
        said = await asyncio.to_thread(_taken_apart, name, raw)
    except _NOT_OURS:
        raise NotFound(f"{name[:100]!r} is neither a mail nor a text message that was written here.") from None
    return visit.page("message.html", said["subject"] or name, name=name, of=visit.query("of"), message=said)


async def message_body(visit: Visit) -> Response:
    """What a mail looks like, for a frame."""
    _check(visit)
    raw = await _file(visit, visit.site.outboxes)
    try:
        text = _text(_mail(raw), "html") or ""
    except _NOT_OURS:
        text = ""
    return _foreign(text.encode(), "text/html; charset=utf-8")


async def reports(visit: Visit) -> Response:
    """The reports, the newest first."""
    _check(visit)
    found = await asyncio.to_thread(_reports, visit.site.reports)
    others = await _others(visit, ("report_generation",))
    return visit.page(
        "reports.html", "Reports", found=found, most=_LISTED, folders=(visit.site.reports,), others=others, named=_NAMED
    )


async def report(visit: Visit) -> Response:
    """One report, in a frame."""
    _check(visit)
    await _file(visit, (visit.site.reports,))
    return visit.page("report.html", visit.query("name"), name=visit.query("name"), of=visit.query("of"))


async def report_body(visit: Visit) -> Response:
    """The report itself."""
    _check(visit)
    name = visit.query("name")
    raw = await _file(visit, (visit.site.reports,))
    return _foreign(raw, _REPORTS.get(name.rpartition(".")[2], "text/plain; charset=utf-8"), name)


def _check(visit: Visit) -> None:
    if not visit.visitor.sees_files:
        who = visit.visitor.name or "you"
        raise PermissionDenied(
            f"files of this server are shown to those who have the scope read_payload and reach all queues: {who} does "
            "not."
        )


async def _others(visit: Visit, types: Sequence[str]) -> Sequence[str]:
    """Names of other servers that run jobs of one of these types, as far as the store was told of."""
    request = worker_service_pb2.ListWorkersRequest(page_size=1_000)
    found = await visit.ask(visit.backend.workers.ListWorkers, request)
    names = {one.worker.name for one in found.workers if one.embedded and not set(types).isdisjoint(one.types)}
    return sorted(names - {visit.info.server})


async def _file(visit: Visit, folders: Sequence[Path]) -> bytes:
    """The file that is asked for. NotFound, which says which server has it where a list of another one led here."""
    name, of, here = visit.query("name"), visit.query("of"), visit.info.server
    try:
        return await asyncio.to_thread(_read, folders, name)
    except NotFound:
        if not of or of == here:
            raise
        raise NotFound(
            f"this is the server {here}, which has no file {name[:100]!r}. The server {of[:200]} listed it: ask that "
            "one, or give both one folder."
        ) from None


def _foreign(content: bytes, kind: str, download: str = "") -> Response:
    headers = {"Content-Type": kind, "Content-Security-Policy": FOREIGN_POLICY}
    if download and not kind.startswith("text/html"):
        headers["Content-Disposition"] = f'attachment; filename="{download}"'
    return Response(content, headers=headers)


def _read(folders: Sequence[Path], name: str) -> bytes:
    """NotFound, also for names that lead out of the folders."""
    if _NAME.match(name):
        for folder in folders:
            try:
                status, content = _opened(folder / name, _MOST_BYTES)
            except OSError:
                continue
            if status.st_size > _MOST_BYTES:
                raise NotFound(f"{name[:100]!r} is larger than {_MOST_BYTES >> 20} MiB, which is not shown here.")
            return content
    raise NotFound(f"this server has no file {name[:100]!r}: it may stand on another one, or be gone.")


def _opened(path: Path, most: int) -> tuple[os.stat_result, bytes]:
    """What is known of a file, and its first bytes. OSError, also where it is no plain file."""
    with open(os.open(path, _PLAIN), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("no plain file")
        return status, file.read(most)


def _messages(folders: Sequence[Path]) -> Sequence[FoundFile]:
    found = []
    for path in sorted(_files(folders, ("eml", "json")), key=lambda one: one.name, reverse=True)[:_LISTED]:
        try:
            status, head = _opened(path, _HEAD_BYTES)
            said = _taken_apart(path.name, head)
        except (OSError, *_NOT_OURS):  # gone meanwhile, or none of ours
            continue
        written = datetime.fromtimestamp(status.st_mtime, UTC)
        found.append(FoundFile(path.name, written, status.st_size, said["to"], said["subject"], said["kind"]))
    return found


def _reports(folder: Path) -> Sequence[FoundFile]:
    found = []
    for path in _files((folder,), tuple(_REPORTS)):
        try:
            status = path.lstat()
        except OSError:  # gone meanwhile
            continue
        found.append(FoundFile(path.name, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size))
    return sorted(found, key=lambda one: (one.time, one.name), reverse=True)[:_LISTED]


def _files(folders: Sequence[Path], endings: Sequence[str]) -> Sequence[Path]:
    """The plain files that have these endings."""
    found = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                found += [
                    Path(entry.path)
                    for entry in entries
                    if entry.name.rpartition(".")[2] in endings
                    and _NAME.match(entry.name)
                    and entry.is_file(follow_symlinks=False)
                ]
        except OSError:  # not made yet, or not ours to look into
            continue
    return found


def _mail(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=default)


def _text(mail: EmailMessage, kind: str) -> str | None:
    """The mail's text of a kind, with line ends as pages have them; None: it has none of that kind."""
    part = mail.get_body((kind,))
    if part is None:
        return None
    try:
        text = str(part.get_content())
    except LookupError:  # a charset that nobody knows
        text = bytes(part.get_payload(decode=True)).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _taken_apart(name: str, raw: bytes) -> dict[str, Any]:
    """What a mail or a text message says. Any of _NOT_OURS where it is none."""
    if name.endswith(".json"):
        said = json.loads(raw)
        text = str(said["text"])
        return {"kind": "text message", "to": str(said["to"]), "from": str(said.get("from", "")), "text": text,
                "subject": text[:100], "html": False, "files": []}  # fmt: skip
    mail = _mail(raw)
    files = [part.get_filename("") or part.get_content_type() for part in mail.iter_attachments()]
    return {"kind": "mail", "to": str(mail["to"] or ""), "from": str(mail["from"] or ""),
            "subject": str(mail["subject"] or ""), "text": _text(mail, "plain") or "",
            "html": mail.get_body(("html",)) is not None, "files": files}  # fmt: skip
