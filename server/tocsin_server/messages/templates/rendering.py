"""Messages made of a template and data: NAME.subject, NAME.txt, NAME.html and NAME.sms, those that exist.

Templates are the operator's own and trusted to some degree (they run sandboxed all the same); data comes from whoever
schedules jobs and is trusted not at all: it is only ever a value, never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tocsin_server.domain.text_direction import turns, unturned

#: Those that come with the server.
OURS = Path(__file__).parent / "files"

#: Parts of a template: the endings of its files.
SUBJECT, TEXT, HTML, SMS = "subject", "txt", "html", "sms"
MAIL = (SUBJECT, TEXT, HTML)

# No slash: with an ending behind it, ".." is the name of a file like any other.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_MOST_CHARACTERS = 2 << 20  # of one part: data of 1 MiB, repeated by a loop, must not fill the memory
_EXACT = 2**53  # above, a double no longer holds every whole number


class TemplateUnfit(Exception):
    """A template cannot be filled as it is: the message names it and its fault, and nothing of the data."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made of its data. None: it has no such part, or it was not asked for."""

    subject: str | None = None  # one line
    text: str | None = None
    html: str | None = None
    sms: str | None = None


class Templates:
    """The templates of one or more folders; a file in an earlier one goes before its namesake in a later one.

    Changed files are read anew. May be used by several threads at once.
    """

    def __init__(self, *folders: Path) -> None:
        # Absolute, so that a change of the working directory does not move it.
        loader = FileSystemLoader([folder.absolute() for folder in folders])
        # Autoescape by ending: text and subject are no markup, escaping would put "&amp;" into them.
        self._environment = _DataFirst(
            loader=loader, undefined=StrictUndefined, autoescape=_is_html, finalize=_unturned
        )

    def render(
        self, name: str, data: Mapping[str, object], parts: Collection[str] = MAIL, *, fallback: str = ""
    ) -> Rendered:
        """Fill `parts` of template `name` with `data`. Parts that it has not are taken of `fallback`, if given.

        TemplateUnfit where there is no such template, or a variable it wants is missing. Reads files: call it off the
        event loop.
        """
        if not _NAME.match(name):
            raise TemplateUnfit(f"template {name!r}: a template's name is made of letters, digits and . _ -")
        own = {part: self._part(f"{name}.{part}", data) for part in parts}
        if not fallback and own.get(TEXT) is None and own.get(HTML) is None:
            raise TemplateUnfit(f"template {name!r}: there is no {name}.txt and no {name}.html in the template folder")
        if all(made is None for made in own.values()):
            files = ", ".join(f"{name}.{part}" for part in parts)
            raise TemplateUnfit(f"template {name!r}: there is none of {files} in the template folder")
        if fallback and fallback != name:
            own = {p: self._part(f"{fallback}.{p}", data) if made is None else made for p, made in own.items()}
        subject, sms = own.get(SUBJECT), own.get(SMS)
        return Rendered(
            # Line breaks, the file's own and those in data, become spaces: a subject is one line.
            subject=None if subject is None else " ".join(line.strip() for line in subject.splitlines()).strip(),
            text=own.get(TEXT),
            html=own.get(HTML),
            sms=None if sms is None else sms.strip(),
        )

    def faults(self) -> Iterator[str]:
        """What is wrong with the syntax of any template, so that it is said before one is needed. Reads all files."""
        endings = (SUBJECT, TEXT, HTML, SMS)
        for file in self._environment.list_templates(extensions=endings):
            try:
                self._environment.get_template(file)
            except TemplateSyntaxError as error:
                yield _syntax(error, file)
            except (OSError, UnicodeDecodeError, TemplateNotFound):
                yield f"template {file}: it cannot be read as UTF-8"

    def _part(self, file: str, data: Mapping[str, object]) -> str | None:
        try:
            template = self._environment.get_template(file)
            pieces, length = [], 0
            for piece in template.generate(data):
                length += len(piece)
                if length > _MOST_CHARACTERS:
                    raise TemplateUnfit(f"template {file}: it makes more than {_MOST_CHARACTERS:,} characters")
                pieces.append(piece)
            return "".join(pieces)
        except TemplateUnfit:
            raise
        except TemplateNotFound as error:
            if error.name == file:
                return None
            raise TemplateUnfit(f"template {file}: it includes {error.name}, which does not exist") from error
        except TemplateSyntaxError as error:
            raise TemplateUnfit(_syntax(error, file)) from error
        except UndefinedError as error:
            raise TemplateUnfit(f"template {file}: {error.message}; give it in template_data") from error
        except SecurityError as error:
            raise TemplateUnfit(f"template {file}: it does what templates may not do") from error
        except Exception as error:
            # A filter choked on a value. The value itself stays out of the message, so there is no cause either.
            raise TemplateUnfit(f"template {file}: {type(error).__name__} while it was filled") from None


def plain_data(data: Struct) -> dict[str, object]:
    """The values as Python has them; 3.0 becomes 3, as nobody wants to read "3.0 tickets"."""
    return {name: _whole(value) for name, value in MessageToDict(data).items()}


class _DataFirst(ImmutableSandboxedEnvironment):
    """In a template, `order.items` means the data's "items", not the method of that name every dict has."""

    def getattr(self, obj: object, attribute: str) -> object:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        found: object | Undefined = super().getattr(obj, attribute)
        return found


def _syntax(error: TemplateSyntaxError, file: str) -> str:
    return f"template {error.name or file}, line {error.lineno}: {error.message}"


def _unturned(value: object) -> object:
    """What is put into a message cannot turn the direction of what stands behind it."""
    # Markup, which a template made itself, is to stay Markup.
    return type(value)(unturned(value)) if isinstance(value, str) and turns(value) else value


def _is_html(name: str | None) -> bool:
    return name is not None and name.endswith(".html")


def _whole(value: object) -> object:
    match value:
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case dict():
            return {name: _whole(inner) for name, inner in value.items()}
        case list():
            return [_whole(inner) for inner in value]
    return value
