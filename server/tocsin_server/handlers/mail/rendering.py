"""Mails made of a template and data: name.txt, name.html and name.subject in one folder, those that exist.

Templates are the operator's own and trusted to some degree (they run sandboxed all the same); data comes from whoever
schedules jobs and is trusted not at all: it is only ever a value, never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined, TemplateNotFound, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tocsin_server.handlers.mail.errors import MailRefused

# No slash: with an ending behind it, ".." is the name of a file like any other.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template made of its data. None: it has no such part."""

    subject: str | None  # one line
    text: str | None
    html: str | None


class Templates:
    """The templates of one folder. Changed files are read anew. May be used by several threads at once."""

    def __init__(self, folder: Path) -> None:
        # Absolute, so that a change of the working directory does not move it.
        loader = FileSystemLoader(folder.absolute())
        # Autoescape by ending: text and subject are no markup, escaping would put "&amp;" into them.
        self._environment = _DataFirst(loader=loader, undefined=StrictUndefined, autoescape=_is_html)

    def render(self, name: str, data: Mapping[str, object]) -> Rendered:
        """Fill template `name` with `data`. MailRefused where there is none, or a variable it wants is missing.

        Reads files: call it off the event loop.
        """
        if not _NAME.match(name):
            raise MailRefused(f"template {name!r}: a template's name is made of letters, digits and . _ -")
        subject = self._part(f"{name}.subject", data)
        rendered = Rendered(
            # Line breaks, the file's own and those in data, become spaces: a subject is one line.
            subject=None if subject is None else " ".join(line.strip() for line in subject.splitlines()).strip(),
            text=self._part(f"{name}.txt", data),
            html=self._part(f"{name}.html", data),
        )
        if rendered.text is None and rendered.html is None:
            raise MailRefused(f"template {name!r}: there is no {name}.txt and no {name}.html in the template folder")
        return rendered

    def _part(self, file: str, data: Mapping[str, object]) -> str | None:
        try:
            return self._environment.get_template(file).render(data)
        except TemplateNotFound as error:
            if error.name == file:
                return None
            raise MailRefused(f"template {file}: it includes {error.name}, which does not exist") from error
        except TemplateSyntaxError as error:
            raise MailRefused(f"template {error.name or file}, line {error.lineno}: {error.message}") from error
        except UndefinedError as error:
            raise MailRefused(f"template {file}: {error.message}; give it in template_data") from error
        except SecurityError as error:
            raise MailRefused(f"template {file}: it does what templates may not do") from error
        except Exception as error:
            # A filter choked on a value. The value itself stays out of the message, so there is no cause either.
            raise MailRefused(f"template {file}: {type(error).__name__} while it was filled") from None


class _DataFirst(ImmutableSandboxedEnvironment):
    """In a template, `order.items` means the data's "items", not the method of that name every dict has."""

    def getattr(self, obj: object, attribute: str) -> object:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        found: object | Undefined = super().getattr(obj, attribute)
        return found


def _is_html(name: str | None) -> bool:
    return name is not None and name.endswith(".html")
