"""Handlers: what may be registered, and what refusals say."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
from tocsin.worker.context import JobContext
from tocsin.worker.registry import Handlers


def noop(job: JobContext) -> None: ...


async def async_noop(job: JobContext) -> None: ...


class AsyncCallable:
    async def __call__(self, job: JobContext) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (noop, False),
        (async_noop, True),
        (functools.partial(noop), False),
        (functools.partial(async_noop), True),
        (AsyncCallable(), True),
    ],
)
def test_a_handler_is_async_if_calling_it_gives_a_coroutine(function: Callable[..., object], is_async: bool) -> None:
    handlers = Handlers()
    handlers.on("t")(function)
    handler = handlers.get("t")
    assert handler is not None
    assert handler.is_async is is_async


def test_registering_leaves_the_function_as_it_is() -> None:
    assert Handlers().on("t", concurrency=2, timeout=1.5)(noop) is noop


@pytest.mark.parametrize("type", ["", "a b", "a/b", "ü", "a\n", "x" * 101, None, 3])
def test_a_bad_type_is_refused(type: str) -> None:
    with pytest.raises(ValueError, match="A-Z a-z 0-9"):
        Handlers().on(type)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "4"])
def test_a_bad_concurrency_is_refused_with_what_to_give(concurrency: int) -> None:
    with pytest.raises(ValueError, match=r"concurrency of 't' .* give .* None for the server's"):
        Handlers().on("t", concurrency=concurrency)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), timedelta(0), timedelta(seconds=-1)])
def test_a_bad_timeout_is_refused(timeout: float | timedelta) -> None:
    with pytest.raises(ValueError, match="timeout of 't'"):
        Handlers().on("t", timeout=timeout)


def test_a_second_handler_for_a_type_is_refused_naming_both() -> None:
    handlers = Handlers()
    handlers.on("t")(noop)
    with pytest.raises(ValueError, match=r"'t' has a handler already, .*\.noop; give .*async_noop another type"):
        handlers.on("t")(async_noop)


def test_what_cannot_be_a_handler_is_refused() -> None:
    def takes_none() -> None: ...
    def takes_two(job: JobContext, more: int) -> None: ...
    def generator(job: JobContext) -> Iterator[int]:
        yield 1

    async def async_generator(job: JobContext) -> AsyncIterator[int]:
        yield 1

    bad: list[tuple[Callable[..., object], str]] = [
        (takes_none, "must take one argument"),
        (takes_two, "must take one argument"),
        (generator, "generator"),
        (async_generator, "generator"),
    ]
    for function, says in bad:
        with pytest.raises(ValueError, match=says):
            Handlers().on("t")(function)
    with pytest.raises(ValueError, match="give a function"):
        Handlers().on("t")("noop")  # type: ignore[type-var]  # the mistake under test


def test_merging_keeps_each_ones_place_and_takes_none_where_one_is_taken() -> None:
    one, other = Handlers(), Handlers()
    one.on("a", concurrency=3)(noop)
    one.spec = "m:one"
    other.on("b")(async_noop)

    merged = Handlers.merged(one, other)

    assert list(merged) == ["a", "b"]
    assert len(merged) == 2
    assert "a" in merged
    assert "c" not in merged
    assert merged.concurrencies() == {"a": 3, "b": None}
    assert [handler.spec for handler in map(merged.get, merged) if handler] == ["m:one", None]

    third = Handlers()
    third.on("c")(noop)
    third.on("a")(noop)
    with pytest.raises(ValueError, match="'a' has a handler already"):
        merged.include(third)
    assert list(merged) == ["a", "b"]


def test_handlers_registered_after_loading_have_the_place_too() -> None:
    handlers = Handlers()
    handlers.on("a")(noop)
    handlers.spec = "m:handlers"
    handlers.on("b")(noop)
    assert [handler.spec for handler in map(handlers.get, handlers) if handler] == ["m:handlers", "m:handlers"]
