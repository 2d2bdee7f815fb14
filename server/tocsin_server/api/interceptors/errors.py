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
            except Exception:
                fault = Internal(uuid.uuid4().hex)
                self._log.exception("fault", method=call.method.path, error_id=fault.error_id)
                await _abort(call.context, fault)

        return done


async def _abort(context: Context, error: TocsinError) -> NoReturn:
    try:
        async with asyncio.timeout(_TOLD_WITHIN):
            await context.abort_with_status(rpc_status.to_status(to_status(error)))
    except TimeoutError:
        raise CallerLeft from None
