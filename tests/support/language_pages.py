"""The pages of docs for other languages: their programs are the files of tests/interop, word for word.

`python -m support.language_pages` writes the files as they are now into the pages.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Page and example folder of each language.
PAGES = {
    language: (ROOT / f"docs/{language}.md", ROOT / f"tests/interop/{language}") for language in ("go", "node", "java")
}
#: A file's name in bold, whatever is said of it, and its text.
_FILE = re.compile(r"^(\*\*`([^`]+)`\*\*[^\n]*\n(?:[^\n`]+\n)*\n```\w+\n)(.*?)(^```)", re.M | re.S)
_COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def files(page: str) -> dict[str, str]:
    """The files that a page has the text of."""
    return {name: text for _, name, text, _ in _FILE.findall(page)}


def commands(page: str) -> list[str]:
    """Its blocks of commands."""
    return _COMMANDS.findall(page)


def filled(page: str, folder: Path) -> str:
    """The page with its files as they stand in the folder."""
    return _FILE.sub(lambda found: found[1] + (folder / found[2]).read_text() + found[4], page)


def main() -> None:
    """Fill all pages."""
    for page, folder in PAGES.values():
        page.write_text(filled(page.read_text(), folder))


if __name__ == "__main__":
    main()
