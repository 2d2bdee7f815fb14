"""Finds the Handlers that a name like "myapp.jobs" or "myapp.jobs:other" means."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from types import ModuleType

from tocsin.worker.registry import Handlers

#: The object's name where none is given.
DEFAULT_NAME = "handlers"

_SPEC = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*)(:(?P<name>[^\W\d]\w*))?\Z")


class HandlersNotFound(Exception):
    """There are no handlers where they were said to be. One line, which says what to do."""


def load_handlers(spec: str) -> Handlers:
    """Import a module and take its Handlers: "myapp.jobs" means its object `handlers`, "myapp.jobs:other" another one.

    The current folder is looked in last, so that nothing in it stands in for a module of the library. Their `spec` is
    set, so that processes can find them.
    Raises HandlersNotFound; where the module itself raised, that is its __cause__.
    """
    match = _SPEC.match(spec)
    if match is None:
        raise HandlersNotFound(f"{spec!r} names no handlers: write a module, 'myapp.jobs', or 'myapp.jobs:other_name'")
    module = _import(match["module"])
    name = match["name"] or DEFAULT_NAME
    handlers = getattr(module, name, None)
    if not isinstance(handlers, Handlers):
        raise HandlersNotFound(_why_not(module, name, handlers))
    handlers.spec = f"{match['module']}:{name}"
    return handlers


def _import(name: str) -> ModuleType:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise HandlersNotFound(
                f"there is no module {name!r} (no {error.name!r} in {here} or on Python's path): "
                "start from the folder that holds it, or install it"
            ) from error
        raise HandlersNotFound(f"module {name!r} cannot be imported: {error}{_place(error)}") from error
    except (Exception, SystemExit) as error:
        lines = str(error).splitlines() or [""]
        raise HandlersNotFound(
            f"module {name!r} cannot be imported: {type(error).__name__}: {lines[0]}{_place(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """Where it was raised: " (file, line n)"; "" where Python says so itself, or does not know."""
    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})" if "line" not in str(error) else ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen ")]
    frames = frames[1:]  # the first is the import here
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _why_not(module: ModuleType, name: str, found: object) -> str:
    others = sorted(key for key, value in vars(module).items() if isinstance(value, Handlers))
    hint = (
        f"it has {', '.join(f'{module.__name__}:{other}' for other in others)}: name one of those"
        if others
        else f"write `{name} = Handlers()` in it"
    )
    if found is None:
        return f"module {module.__name__!r} has no {name!r}; {hint}"
    return f"{name!r} in module {module.__name__!r} is a {type(found).__name__}, not a Handlers; {hint}"
