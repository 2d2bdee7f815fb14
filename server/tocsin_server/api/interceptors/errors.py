"""Turns what is raised below into a status with details."""

from __future__ import annotations

import asyncio
import uuid
from typing import NoReturn

import grpc
import structlog
from grpc_status import rpc_status

from tocsin_server.api.errors import to_status
from tocsin_server.api.interceptors.call import Call, CallerLeft, Context, Work
from tocsin_server.domain.errors import Internal, TocsinError

# Seconds. Whoever does not read what was sent before never comes to the refusal, and would hold the call for ever.
_TOLD_WITHIN = 5.0


class Errors:
    """Ends a call with the status of its refusal. A fault of ours is logged under an id, and only the id is told."""

    def __init__(self) -> None:
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("tocsin_server.api")

    def around(self, work: Work) -> Work:
        """Everything inside may raise any TocsinError."""

        async def done(call: Call) -> bytes | None:
            try:
                return await work(call)
            except TocsinError as error:
                await _abort(call.context, error)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                fault = Internal(uuid.uuid4().hex)
                self._log.exception("fault", method=call.method.path, error_id=fault.error_id)
                _let_go(error)
                await _abort(call.context, fault)

        return done


async def _abort(context: Context, error: TocsinError) -> NoReturn:
    status = rpc_status.to_status(to_status(error))
    _let_go(error)
    try:
        async with asyncio.timeout(_TOLD_WITHIN):
            await context.abort_with_status(status)
    except TimeoutError:
        raise CallerLeft from None


def _let_go(error: BaseException) -> None:
    """Of what the error came through. A function that raises what it was answered holds it, and is held by it: both
    would stay, with the request and all that was made of it, until Python looks for rings."""
    chain, seen = [error], set[int]()
    while chain:
        one = chain.pop()
        if id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            chain += [further for further in (one.__cause__, one.__context__) if further is not None]
