"""Lets in those who are known and may do what they call, and ends what stays open once they may no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tocsin_server.api.interceptors.call import Call, Context, MethodKind, Work
from tocsin_server.api.scopes import DRY_RUNS, RULES, NoScope
from tocsin_server.domain.errors import NotAllowed, TocsinError
from tocsin_server.security.authentication import Credentials
from tocsin_server.security.principals import Principal

_SAN = "x509_subject_alternative_name"


@dataclass(slots=True, eq=False)
class _Open:
    """A call that may stay open for long."""

    task: asyncio.Task[object]
    call: Call
    credentials: Credentials
    principal: Principal  # as it was when the call came
    refusal: TocsinError | None = None  # why it was cut off


class Auth:
    """Around every call, where somebody is named who may call: all others may not. `recheck` is called each second."""

    def __init__(self, principal: Callable[[Credentials], Principal]) -> None:
        """`principal` says who shows the credentials, or raises NotAuthenticated."""
        self._principal = principal
        self._open: set[_Open] = set()

    def around(self, work: Work) -> Work:
        """Raises NotAuthenticated; NotAllowed."""

        async def done(call: Call) -> bytes | None:
            path = call.method.path
            if RULES.get(path) is NoScope.OPEN:
                return await work(call)
            credentials = _shown(call.context)
            call.principal = principal = self._principal(credentials)
            call.caller = principal.name  # also of one who may not
            self._check(principal, path)
            if call.method.kind is MethodKind.CALL:  # over within its deadline
                return await work(call)
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a call is served by a task")
            standing = _Open(task, call, credentials, principal)
            self._open.add(standing)
            try:
                return await work(call)
            except asyncio.CancelledError:
                if standing.refusal is None:
                    raise
                task.uncancel()
                raise standing.refusal from None
            finally:
                self._open.discard(standing)

        return done

    def recheck(self) -> None:
        """End the open calls of those who may make them no more."""
        for standing in self._open:
            if standing.refusal is None:
                try:
                    principal = self._principal(standing.credentials)
                    self._check(principal, standing.call.method.path)
                    if principal is not standing.principal and principal.may_less_than(standing.principal):
                        # What the call asked for was checked when it came.
                        raise NotAllowed(
                            f"{principal.name} has fewer queues or scopes than when this was called. Call it anew."
                        )
                except TocsinError as refusal:
                    standing.refusal = refusal
                    standing.task.cancel()

    def _check(self, principal: Principal, path: str) -> None:
        rule = RULES.get(path)
        if rule is None:
            raise NotAllowed(f"nobody may call {path}: this version of the server does not know it.")
        if rule is NoScope.ANYBODY or DRY_RUNS.get(path) in principal.scopes:  # of these the request is looked at, too
            return
        if rule not in principal.scopes:
            raise NotAllowed(
                f"{principal.name} may not call {path}, which takes the scope {rule}. Have it added to its scopes.",
                scope=str(rule),
            )


def _shown(context: Context) -> Credentials:
    authorization = None
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            authorization = value if isinstance(value, str) else value.decode(errors="replace")
            break
    names = context.auth_context().get(_SAN, ()) if authorization is None else ()
    return Credentials(authorization, tuple(name.decode(errors="replace") for name in names))
