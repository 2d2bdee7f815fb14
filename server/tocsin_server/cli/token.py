"""tocsin token create, list and revoke"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from tocsin_server.cli import options
from tocsin_server.cli.running import loaded_or_exit, refusal
from tocsin_server.security.principals import Scope, queues_of, read_principals, scopes_of
from tocsin_server.security.principals_file import create_token, revoke_token
from tocsin_server.security.reloading import Unusable
from tocsin_server.settings import duration
from tocsin_server.settings.values import split_names

File: TypeAlias = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The file of principals. Default: the setting auth.principals_file."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Make, list and revoke the tokens by which callers say who they are.\n\nThey stand, as hashes, in the "
        "file of principals (auth.principals_file); servers that read it follow within seconds.",
        no_args_is_help=True,
    )
    commands: dict[str, Callable[..., None]] = {"create": create, "list": list_, "revoke": revoke}
    for name, command in commands.items():
        group.command(name)(command)
    app.add_typer(group, name="token")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is.", show_default=False)],
    scopes: Annotated[
        str, typer.Option(metavar="SCOPE,...", help=f"What a new principal may do: {', '.join(Scope)}.")
    ] = "",
    queues: Annotated[
        str,
        typer.Option(metavar="QUEUE,...", help="Queues that a new principal reaches, as orders,mail.*; default: all."),
    ] = "",
    expires: Annotated[str, typer.Option(metavar="DURATION|never", help="How long it is good: 90d, 12h.")] = "90d",
    file: File = None,
    config: options.Config = None,
) -> None:
    """Make a token of a principal and print it, this once. Those that it has stay valid, so that they can be replaced.

    NAME is made with --scopes where it is not there yet.
    """
    with _telling():
        wanted, own = scopes_of(split_names(scopes)), queues_of(split_names(queues)) or None
        path = _file(file, config)
        secret, token = create_token(path, name, wanted, _end(expires), own)
        typer.echo(secret)
        until = f"good until {token.expires:%Y-%m-%d %H:%M} UTC" if token.expires else "it does not expire"
        typer.echo(f"token {token.id} of {name}, {until}; this is the only time it is shown", err=True)


def list_(file: File = None, config: options.Config = None) -> None:
    """Show principals, what they may do, and their tokens by their ids."""
    with _telling():
        now = datetime.now(UTC)
        for one in read_principals(_file(file, config)).each:
            own = "all queues" if one.queues is None else f"queues {','.join(one.queues) or 'none'}"
            typer.echo(f"{one.name}  {','.join(sorted(one.scopes)) or 'no scopes'}  {own}")
            for names, what in ((one.certificates, "certificate"), (one.subjects, "subject")):
                for name in names:
                    typer.echo(f"  {what} {name!r}")
            for token in one.tokens:
                end = "never expires"
                if token.expires is not None:
                    end = f"{'expired' if token.expired(now) else 'expires'} {token.expires:%Y-%m-%d %H:%M} UTC"
                typer.echo(f"  token {token.id}  {end}")


def revoke(
    token_id: Annotated[
        str, typer.Argument(metavar="TOKEN_ID", help="Its id, as `list` shows it.", show_default=False)
    ],
    file: File = None,
    config: options.Config = None,
) -> None:
    """Revoke a token. Servers that read the file refuse it within 5 s, and end what it keeps open."""
    with _telling():
        name = revoke_token(_file(file, config), token_id)
        typer.echo(f"token {token_id} of {name} is revoked")


def _file(file: Path | None, config: Path | None) -> Path:
    path = file or loaded_or_exit("token", [], os.environ, config).settings.auth.principals_file
    if path is None:
        raise Unusable(
            "no file of principals is named: set auth.principals_file (TOCSIN_AUTH__PRINCIPALS_FILE), or say --file"
        )
    return path


def _end(expires: str) -> datetime | None:
    if expires == "never":
        return None
    try:
        return datetime.now(UTC).replace(microsecond=0) + duration(expires)
    except (ValueError, OverflowError) as error:
        raise Unusable(f"--expires: {error}, or never") from None


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except Unusable as error:
        raise refusal("token", [str(error)]) from None
