"""What stands in folders of this server: mails and text messages that were written instead of sent, and reports.

They are shown to those who may see payloads and reach all queues: a file does not tell which queue it is of.
"""

from __future__ import annotations

import asyncio
import json
import re
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

from tocsin_server.web.guard import FOREIGN_POLICY
from tocsin_server.web.visit import Visit

#: Files that are listed, the newest ones; and bytes of one that is read.
_LISTED, _MOST_BYTES = 200, 32 << 20

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
    return visit.page("outbox.html", "Outbox", found=found, most=_LISTED, live="")


async def message(visit: Visit) -> Response:
    """One of them."""
    _check(visit)
    name = visit.query("name")
    raw = await asyncio.to_thread(_read, visit.site.outboxes, name)
    said = await asyncio.to_thread(_taken_apart, name, raw)
    return visit.page("message.html", said["subject"] or name, name=name, message=said, live="")


async def message_body(visit: Visit) -> Response:
    """What a mail looks like, for a frame."""
    _check(visit)
    raw = await asyncio.to_thread(_read, visit.site.outboxes, visit.query("name"))
    part = _mail(raw).get_body(("html",))
    text = part.get_content() if part is not None else ""
    return _foreign(text.encode(), "text/html; charset=utf-8")


async def reports(visit: Visit) -> Response:
    """The reports, the newest first."""
    _check(visit)
    found = await asyncio.to_thread(_reports, visit.site.reports)
    return visit.page("reports.html", "Reports", found=found, most=_LISTED, live="")


async def report(visit: Visit) -> Response:
    """One report, in a frame."""
    _check(visit)
    return visit.page("report.html", visit.query("name"), name=visit.query("name"), live="")


async def report_body(visit: Visit) -> Response:
    """The report itself."""
    _check(visit)
    name = visit.query("name")
    raw = await asyncio.to_thread(_read, (visit.site.reports,), name)
    return _foreign(raw, _REPORTS.get(name.rpartition(".")[2], "text/plain; charset=utf-8"), name)


def _check(visit: Visit) -> None:
    if not visit.visitor.sees_files:
        who = visit.visitor.name or "you"
        raise PermissionDenied(
            f"files of this server are shown to those who have the scope read_payload and reach all queues: {who} does "
            "not."
        )


def _foreign(content: bytes, kind: str, download: str = "") -> Response:
    headers = {"Content-Type": kind, "Content-Security-Policy": FOREIGN_POLICY}
    if download and not kind.startswith("text/html"):
        headers["Content-Disposition"] = f'attachment; filename="{download}"'
    return Response(content, headers=headers)


def _read(folders: Sequence[Path], name: str) -> bytes:
    """NotFound, also for names that lead out of the folders."""
    if _NAME.match(name):
        for folder in folders:
            path = folder / name
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST_BYTES:
                return path.read_bytes()
    raise NotFound(f"this server has no file {name[:100]!r}: it may stand on another one, or be gone.")


def _messages(folders: Sequence[Path]) -> Sequence[FoundFile]:
    found = []
    for path in sorted(_files(folders, ("eml", "json")), key=lambda one: one.name, reverse=True)[:_LISTED]:
        try:
            status, said = path.stat(), _taken_apart(path.name, path.read_bytes())
        except (OSError, ValueError):  # gone meanwhile, or none of ours
            continue
        written = datetime.fromtimestamp(status.st_mtime, UTC)
        found.append(FoundFile(path.name, written, status.st_size, said["to"], said["subject"], said["kind"]))
    return found


def _reports(folder: Path) -> Sequence[FoundFile]:
    found = []
    for path in _files((folder,), tuple(_REPORTS)):
        try:
            status = path.stat()
        except OSError:  # gone meanwhile
            continue
        found.append(FoundFile(path.name, datetime.fromtimestamp(status.st_mtime, UTC), status.st_size))
    return sorted(found, key=lambda one: (one.time, one.name), reverse=True)[:_LISTED]


def _files(folders: Sequence[Path], endings: Sequence[str]) -> Sequence[Path]:
    return [
        path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.name.rpartition(".")[2] in endings and _NAME.match(path.name)
    ]


def _mail(raw: bytes) -> EmailMessage:
    return message_from_bytes(raw, policy=default)


def _taken_apart(name: str, raw: bytes) -> dict[str, Any]:
    """What a mail or a text message says. ValueError."""
    if name.endswith(".json"):
        said = json.loads(raw)
        text = str(said.get("text", ""))
        return {"kind": "text message", "to": said.get("to", ""), "from": said.get("from", ""), "text": text,
                "subject": text[:100], "html": False, "files": []}  # fmt: skip
    mail = _mail(raw)
    plain = mail.get_body(("plain",))
    files = [part.get_filename("") or part.get_content_type() for part in mail.iter_attachments()]
    return {"kind": "mail", "to": str(mail["to"] or ""), "from": str(mail["from"] or ""),
            "subject": str(mail["subject"] or ""), "text": plain.get_content() if plain is not None else "",
            "html": mail.get_body(("html",)) is not None, "files": files}  # fmt: skip
