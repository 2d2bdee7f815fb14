"""The file of an export: a line that says what it is, a line a record, a line that says that it is whole."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from google.protobuf import json_format

from tocsin.cli.texts import counted
from tocsin.v1.transfer_pb2 import TransferRecord

VERSION = 1
_FIRST, _LAST = "tocsin_export", "tocsin_export_end"
_BYTES = (
    ("job", "payload"),
    ("job", "result"),
    ("note", "value"),
    ("schedule", "payload"),
    ("sealed", "record"),
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_GZIP = b"\x1f\x8b"
# The largest record has 1.5 MiB; as JSON, in the worst of its spellings, some times as much.
LINE_BYTES = 16 << 20


class NotAnExport(Exception):
    """The file does not begin as an export does, or cannot be read by this version. One line."""


class BadLine(Exception):
    """A line that holds no record. One line of text, without its number."""


def first_line(facts: Mapping[str, object]) -> bytes:
    """What a file begins with."""
    return _line({_FIRST: VERSION, **facts})


def record_line(record: TransferRecord) -> bytes:
    """A record."""
    return _line(json_format.MessageToDict(record, preserving_proto_field_name=True))


def last_line(records: int) -> bytes:
    """What a whole file ends with."""
    return _line({_LAST: VERSION, "records": records})


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@contextmanager
def written(name: str) -> Iterator[IO[bytes]]:
    """A file to be written, gzip where its name ends so, which has its name only once all is in it; "-" is standard
    output. A new file can be read by its owner alone: payloads are not everybody's. OSError."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name).resolve()  # where a link leads, the file goes
    with ExitStack() as stack:
        if path.exists() and not path.is_file():  # a pipe or a device is no name to be taken over
            yield stack.enter_context(_packed(name, stack.enter_context(path.open("wb"))))
            return
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=".tocsin-export-")
        try:
            with open(descriptor, "wb") as raw:
                with _packed(name, raw) as out:
                    yield out
                raw.flush()
                os.fsync(raw.fileno())
            if path.exists():
                shutil.copymode(path, part)
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise


@contextmanager
def _packed(name: str, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if not name.endswith(".gz"):
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        yield cast("IO[bytes]", packed)


class ExportFile:
    """An export that is read. `line` is the number of the line read last; `place` how many bytes of the file that took.

    Gzip is known by its first bytes. Lines of any length and any content may come: memory is bounded.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        """Reads the first line. NotAnExport."""
        buffered = raw if isinstance(raw, BufferedReader) else BufferedReader(raw)  # type: ignore[type-var]  # of bytes
        self._raw = buffered
        packed = buffered.peek(2)[:2] == _GZIP
        self._lines = cast("IO[bytes]", gzip.GzipFile(fileobj=buffered)) if packed else cast("IO[bytes]", buffered)
        self._ended = False
        self._told: int | None = None  # how many lines of records the last line says that there are
        self._found = 0
        self.line = 0
        self._check_first()

    @property
    def place(self) -> int:
        """Bytes of the file that were read; 0 where its size is not known."""
        return self._raw.tell() if self._raw.seekable() else 0

    @property
    def size(self) -> int | None:
        """Bytes of the whole file. None: not known, as it comes through a pipe."""
        found = os.fstat(self._raw.fileno())
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def records(self) -> Iterator[TransferRecord | BadLine]:
        """What the lines hold, one after the other, with each bad one where it stood; the last may be that the file is
        not whole."""
        while True:
            try:
                raw = self._next()
            except BadLine as bad:
                self._found += 1
                yield bad
                continue
            except (EOFError, OSError, zlib.error) as error:
                self.line += 1
                yield BadLine(f"the file breaks off: {error}")
                return
            if not raw:
                break
            self._found += bool(raw.strip())
            try:
                record = self._record(raw)
            except BadLine as bad:
                yield bad
                continue
            if record is not None:
                yield record
        if not self._ended:
            self.line += 1
            yield BadLine("the file has no last line, so that it may have broken off")
        elif self._told is not None and self._told != self._found:
            yield BadLine(f"the file has {counted(self._found, 'record')}, and had {self._told:,} when it was written")

    def _next(self) -> bytes:
        raw = self._lines.readline(LINE_BYTES)
        if raw:
            self.line += 1
        if len(raw) == LINE_BYTES and not raw.endswith(b"\n"):
            while (rest := self._lines.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            raise BadLine(f"is longer than {LINE_BYTES >> 20} MiB")
        return raw

    def _record(self, raw: bytes) -> TransferRecord | None:
        if not raw.strip():
            return None
        fields = _object(raw)
        if _LAST in fields:
            self._ended = True
            self._found -= 1  # it is none itself
            told = fields.get("records")
            self._told = told if isinstance(told, int) else None
            return None
        for kind, name in _BYTES:
            part = fields.get(kind)
            text = part.get(name) if isinstance(part, dict) else None
            if isinstance(text, str) and not _BASE64.fullmatch(text):
                # The parser passes over what is no base64, so that damaged bytes would come in as others.
                raise BadLine(f"no record: {kind}.{name} is no base64")
        try:
            return json_format.ParseDict(dict(fields), TransferRecord())
        except (json_format.ParseError, ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadLine(f"no record: {error}") from None
        except RecursionError:
            raise BadLine("no record: it is nested too deep") from None

    def _check_first(self) -> None:
        try:
            fields = _object(self._next())
        except (BadLine, EOFError, OSError, zlib.error) as error:
            raise NotAnExport(f"it does not begin as `tocsin export` writes it: {error}") from None
        if _FIRST not in fields:
            raise NotAnExport("it does not begin as `tocsin export` writes it: its first line says nothing of it")
        if fields[_FIRST] != VERSION:
            form = repr(fields[_FIRST])[:20]
            raise NotAnExport(f"another version of tocsin wrote it, in form {form}; this one reads form {VERSION}")


def _object(raw: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        raise BadLine("no JSON that can be read: it is nested too deep") from None
    except ValueError as error:  # a UnicodeDecodeError is one
        raise BadLine(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadLine("no record: it is no JSON object")
    return found
