"""A screen that is drawn anew every few seconds, until q or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Group
from rich.text import Text

from tocsin.cli.tables import terminal

EVERY = 2.0  # seconds


def refreshed(draw: Callable[[int | None], Sequence[Text]], every: float = EVERY) -> None:
    """Show what `draw` gives for the width of the terminal, anew every few seconds. No terminal: once, in full."""
    screen = terminal()
    if screen is None:
        for line in draw(None):
            print(line.plain)
        return
    with screen.screen(hide_cursor=True) as shown, _keys() as pressed:
        while True:
            lines = [line.copy() for line in draw(screen.width)][: screen.height - 2]
            for line in lines:
                line.no_wrap, line.overflow = True, "crop"
            clock = Text(f"{time.strftime('%H:%M:%S')}, every {every:g} s; q ends it", "dim")
            shown.update(Group(*lines, clock))
            if pressed(every):
                return


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """`pressed(seconds)`: wait so long for a q; True where one came."""
    try:
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, OSError, ValueError):  # Windows; or standard input is no terminal: Ctrl-C ends it
        yield _slept
        return
    except termios.error:
        yield _slept
        return
    try:
        tty.setcbreak(sys.stdin)
        yield _pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed(seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and b"q" in os.read(sys.stdin.fileno(), 64).lower():
            return True
    return False
