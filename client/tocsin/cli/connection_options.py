"""The options that every command takes which talks to a server: TLS and token."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypedDict

from typer.core import TyperOption

from tocsin._access import (
    CA_VARIABLE,
    CERT_VARIABLE,
    KEY_VARIABLE,
    SERVER_NAME_VARIABLE,
    TLS_VARIABLE,
    TOKEN_VARIABLE,
    Tls,
    TlsChoice,
)

#: The parameters of commands that say where to connect.
_ADDRESSES = ("address", "server")
_PANEL = "Connection"
_given: ContextVar[dict[str, Any]] = ContextVar("given")


class Access(TypedDict):
    """Arguments of a Client."""

    tls: TlsChoice
    token: str | None


def access() -> Access:
    """What the command line says, where it says anything; else the client looks into the environment. Raises
    InvalidArgument for files that cannot be read."""
    given = _given.get({})
    ca, cert, key, server_name = (given.get(name) for name in ("ca", "cert", "key", "server_name"))
    tls: TlsChoice = None
    if any((ca, cert, key, server_name)):
        tls = Tls.from_files(ca=ca, cert=cert, key=key, server_name=server_name)
    elif given.get("tls"):
        tls = True
    return Access(tls=tls, token=given.get("token"))


def with_connection_options(command: Any) -> Any:
    """The command; each of those below it that connects takes the options."""
    for one in getattr(command, "commands", {}).values():
        with_connection_options(one)
    if any(parameter.name in _ADDRESSES for parameter in command.params):
        command.params.extend(_options())
    return command


def _options() -> list[TyperOption]:
    return [
        _option("--tls", TLS_VARIABLE, "", "Encrypt, and trust the usual roots. Any of --ca and --cert encrypts too."),
        _option("--ca", CA_VARIABLE, "FILE", "Encrypt, and trust these roots (PEM)."),
        _option("--cert", CERT_VARIABLE, "FILE", "The client's certificate (PEM), with --key."),
        _option("--key", KEY_VARIABLE, "FILE", "The private key of --cert (PEM)."),
        _option("--server-name", SERVER_NAME_VARIABLE, "NAME", "Name in the server's certificate, if another."),
        _option("--token", TOKEN_VARIABLE, "TOKEN", "Says who calls. Others on this machine can read command lines."),
    ]


def _option(flag: str, variable: str, metavar: str, help_text: str) -> TyperOption:
    name = flag.removeprefix("--").replace("-", "_")
    return TyperOption(
        param_decls=[name, flag],
        metavar=metavar,
        is_flag=not metavar,
        default=False if not metavar else None,
        envvar=variable,
        show_envvar=True,
        help=help_text,
        rich_help_panel=_PANEL,
        expose_value=False,
        callback=_keep(name),
    )


def _keep(name: str) -> Callable[[Any, Any, Any], Any]:
    def keep(context: object, parameter: object, value: Any) -> Any:
        _given.set({**_given.get({}), name: value})
        return value

    return keep
