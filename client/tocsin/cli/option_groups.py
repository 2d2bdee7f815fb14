"""Groups of options that several commands take, written down once: each a TypedDict of what typer is to know."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints


def takes(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose `**given` are the options of these groups. It gets those that were given, and no other."""
    fields = {name: hint for group in groups for name, hint in get_type_hints(group, include_extras=True).items()}

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = inspect.signature(command).parameters.values()
        parameters = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]
        parameters = [one.replace(annotation=hints[one.name]) for one in parameters]
        keyword = inspect.Parameter.KEYWORD_ONLY
        options = [inspect.Parameter(name, keyword, default=None, annotation=hint) for name, hint in fields.items()]

        @wraps(command)
        def run(**given: Any) -> None:
            left_out = [name for name in fields if given[name] is None or given[name] == []]
            for name in left_out:
                del given[name]
            command(**given)

        ordered = [one.replace(kind=keyword) for one in parameters]
        # Options of every command, as how to connect, stand last in its help.
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # functions have one where it is set
            [*(one for one in ordered if one.default is inspect.Parameter.empty), *options, *_with_default(ordered)]
        )
        run.__annotations__ = {one.name: one.annotation for one in (*ordered, *options)}
        return run

    return decorated


def _with_default(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return [one for one in parameters if one.default is not inspect.Parameter.empty]
