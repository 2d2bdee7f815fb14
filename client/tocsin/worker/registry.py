"""Handlers: which code runs jobs of which type."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from tocsin._shapes import Misfit, Read, is_shape, reader
from tocsin.worker.context import JobContext
from tocsin.worker.errors import InvalidPayload, UnfitPayload, seconds_or_timedelta

_TYPE = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")

Class: TypeAlias = type[Any]

F = TypeVar("F", bound=Callable[..., object])
Own = TypeVar("Own")
Returned = TypeVar("Returned")


class RegistersTyped(Protocol[Own]):
    """What `on(..., payload=Resize)` gives: it takes a function of a JobContext and a Resize."""

    def __call__(self, function: Callable[[JobContext, Own], Returned], /) -> Callable[[JobContext, Own], Returned]:
        """Register the function, which stays as it is."""


@dataclass(frozen=True, slots=True)
class Handler:
    """Code that runs jobs of one type."""

    type: str
    function: Callable[..., object]  # takes one JobContext, and the payload where there is a `payload`
    is_async: bool  # it runs on an event loop; otherwise in a thread
    concurrency: int | None = None  # attempts at once in this process; None: what the process has for each type
    process: bool = False  # each attempt in a process of its own
    timeout: timedelta | None = None  # limit of one attempt, where the job has none or a longer one
    spec: str | None = None  # where another process finds it: "module:name of the Handlers"; None: nowhere

    payload: Class | None = None  # class of the payload, the function's second argument; None: it has none
    read: Read | None = None  # how a dict becomes one
    command: tuple[str, ...] = ()  # program and arguments: it is run in the function's stead

    def arguments(self, context: JobContext) -> tuple[object, ...]:
        """What the function is called with. Raises InvalidPayload where the payload is not of its class."""
        if self.payload is None or self.read is None:
            return (context,)
        try:
            payload = self.read(context.data, "")
        except (Misfit, UnfitPayload) as misfit:
            why = str(misfit)
        else:
            return (context, payload)
        raise InvalidPayload(f"the payload is no {self.payload.__name__}: {why}")  # no cause: it may hold values

    @property
    def name(self) -> str:
        """Where the code stands, e.g. "myapp.jobs.resize_image"; of a program its name."""
        if self.command:
            return self.command[0]
        function = self.function
        module = getattr(function, "__module__", None) or type(function).__module__
        return f"{module}.{getattr(function, '__qualname__', None) or type(function).__qualname__}"


class Handlers:
    """Handlers by type. An object, not a process-wide registry: make as many as you like and merge them.

        handlers = Handlers()

        @handlers.on("resize_image", concurrency=4)
        async def resize_image(job: JobContext) -> dict: ...

    Iterating gives the types.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._spec: str | None = None

    @overload
    def on(
        self,
        type: str,
        *,
        concurrency: int | None = None,
        process: bool = False,
        timeout: timedelta | float | None = None,
    ) -> Callable[[F], F]: ...

    @overload
    def on(
        self,
        type: str,
        *,
        payload: type[Own],
        concurrency: int | None = None,
        process: bool = False,
        timeout: timedelta | float | None = None,
    ) -> RegistersTyped[Own]: ...

    def on(
        self,
        type: str,
        *,
        payload: type[Own] | None = None,
        concurrency: int | None = None,
        process: bool = False,
        timeout: timedelta | float | None = None,
    ) -> Callable[[F], F] | RegistersTyped[Own]:
        """Register a function for jobs of `type`; the function itself stays as it is.

        It takes one JobContext. `async def` runs on an event loop that all async handlers share, plain `def` in a
        thread. What it returns (None, anything JSON can say, bytes) is the job's result.

        payload: a dataclass or a pydantic model. The function then takes the payload as an object of it for a second
        argument; a job whose payload does not fit is FAILED at once with INVALID_PAYLOAD, and the function not called.
        concurrency: attempts of this type at once in one process; None: the server's setting type_concurrency, 5. What
        UpdateQueue says for a queue or the type goes before it.
        process: run each attempt in a process of its own, which a timeout or cancel can kill: for code that holds the
        interpreter's lock or may crash. It must be importable (loaded by `--handlers module`).
        timeout: limit of one attempt, in seconds or a timedelta, where the job has none or a longer one.

        Raises ValueError for a bad or taken type, a concurrency below 1, a `payload` that is no class for payloads, or
        a function that cannot be a handler.
        """
        if not isinstance(type, str) or not _TYPE.match(type):
            raise ValueError(f"{type!r} is no job type: use 1 to 100 of A-Z a-z 0-9 . _ -")
        if concurrency is not None and (isinstance(concurrency, bool) or not isinstance(concurrency, int)):
            raise ValueError(f"concurrency of {type!r} is {concurrency!r}: give a number, or None for the server's")
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency of {type!r} is {concurrency}: give 1 or more, or None for the server's")
        limit = None if timeout is None else seconds_or_timedelta(timeout, f"timeout of {type!r}")
        if limit is not None and not limit:
            raise ValueError(f"timeout of {type!r} is 0: give more, or None for no limit")

        read = None if payload is None else _reader(type, payload)

        def register(function: F) -> F:
            _check_function(type, function, payload)
            self._add(
                Handler(type, function, _is_async(function), concurrency, process, limit, self._spec, payload, read)
            )
            return function

        return register

    def include(self, other: Handlers) -> None:
        """Take over all of `other`'s. Raises ValueError where a type has a handler already; then none is taken."""
        for handler in other._handlers.values():
            self._refuse_taken(handler)
        for handler in other._handlers.values():
            self._add(replace(handler, spec=handler.spec or self._spec))

    @classmethod
    def merged(cls, *several: Handlers) -> Handlers:
        """All of them in a new one. Raises ValueError where two have a handler for the same type."""
        result = cls()
        for handlers in several:
            result.include(handlers)
        return result

    @classmethod
    def for_program(cls, types: Iterable[str], command: Sequence[str]) -> Handlers:
        """Handlers that run a program, the command line given, for jobs of these types. Raises ValueError as `on`."""
        result = cls()
        for type in dict.fromkeys(types):
            result.on(type)(_no_function)
            result._handlers[type] = replace(result._handlers[type], command=tuple(command))
        return result

    @property
    def spec(self) -> str | None:
        """Where another process finds this object: "module:name". Set by the loader; None: nowhere."""
        return self._spec

    @spec.setter
    def spec(self, spec: str) -> None:
        self._spec = spec
        self._handlers = {type: replace(h, spec=h.spec or spec) for type, h in self._handlers.items()}

    def get(self, type: str) -> Handler | None:
        """The handler of a type, or None."""
        return self._handlers.get(type)

    def concurrencies(self) -> Mapping[str, int | None]:
        """Types, and how many attempts of each may run at once (None: what the process has for each type)."""
        return {type: handler.concurrency for type, handler in self._handlers.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._handlers)

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, type: object) -> bool:
        return type in self._handlers

    def __repr__(self) -> str:
        return f"Handlers({', '.join(self._handlers)})"

    def _add(self, handler: Handler) -> None:
        self._refuse_taken(handler)
        self._handlers[handler.type] = handler

    def _refuse_taken(self, handler: Handler) -> None:
        taken = self._handlers.get(handler.type)
        if taken is not None:
            raise ValueError(
                f"type {handler.type!r} has a handler already, {taken.name}; "
                f"give {handler.name} another type, or remove one of them"
            )


def _no_function(job: JobContext) -> None:
    raise AssertionError("a program is run in its stead")


def _is_async(function: Callable[..., object]) -> bool:
    # An object with an async __call__ counts, too.
    return any(inspect.iscoroutinefunction(called) for called in (function, type(function).__call__))


def _reader(type: str, payload: Class) -> Read:
    if not is_shape(payload):
        raise ValueError(f"payload of {type!r} is {payload!r}: give a dataclass or a pydantic model, the class itself")
    try:
        return reader(payload)
    except TypeError as error:
        raise ValueError(f"payload of {type!r}: {error}") from None


def _check_function(type: str, function: object, payload: Class | None) -> None:
    if not callable(function):
        raise ValueError(f"the handler of {type!r} is {function!r}: give a function that takes one JobContext")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ValueError(f"the handler of {type!r} is a generator: return the result instead of yielding")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have none; calling it will show
        return
    try:
        signature.bind(*([None] if payload is None else [None, None]))
    except TypeError:
        wanted = "one argument, the JobContext"
        if payload is not None:
            wanted = f"two arguments, the JobContext and the {payload.__name__}"
        raise ValueError(f"the handler of {type!r} must take {wanted}, not {signature}") from None
