"""tocsin keys: the key ring of encryption at rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tocsin_server.store.encrypting.keyring import (
    Key,
    Keyring,
    KeyringError,
    create_keyring,
    read_keyring,
    write_keyring,
)

_REFUSED = 1  # exit code
_COMMAND = "keys"

File = Annotated[Path, typer.Argument(metavar="FILE", help="The key ring, which encryption.keyring_file names.")]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, 8 hexadecimal digits.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Make and change the key ring that payloads are encrypted with in the store. No key is ever shown.",
        no_args_is_help=True,
    )
    for command in (create, list_, rotate, remove):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name=_COMMAND)


def create(file: File) -> None:
    """Make a key ring with one key, in a new file that its owner alone can read."""
    with _refusals():
        ring = create_keyring(file)
    typer.echo(f"made {file} with key {ring.primary.key_id}. Keep a copy apart from the store's backups: without it")
    typer.echo("what is encrypted is lost. Servers use it by encryption.keyring_file.")


def list_(file: File) -> None:
    """Show the ids of the keys, when they were made, and which is the primary, that encrypts."""
    with _refusals():
        ring = read_keyring(file)
    for key in ring.keys.values():
        mark = "primary" if key.key_id == ring.primary.key_id else ""
        typer.echo(f"{key.key_id}  {key.made:%Y-%m-%d %H:%M:%S}Z  {mark}".rstrip())


def rotate(
    file: File,
    add_only: Annotated[
        bool,
        typer.Option(
            "--add-only",
            metavar="",
            help="Add a key that does not encrypt yet: first step where several machines have copies of the file.",
        ),
    ] = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="KEY", help="Add none; let this key of the ring encrypt from now on.")
    ] = None,
) -> None:
    """Add a key, and let it encrypt from now on. Servers go on, and see it within a second; older keys still decrypt.

    Where each machine has a copy of the file, no server may meet a key that its copy lacks: rotate with --add-only,
    copy the file to all, then rotate with --to and that key, and copy it again.
    """
    if add_only and to is not None:
        raise typer.BadParameter("give --add-only or --to, not both", param_hint="--to")
    with _refusals():
        ring = read_keyring(file)
        if to is not None:
            changed = replace(ring, primary=_key_of(ring, file, to))
        else:
            changed = ring.with_new_key()
            if not add_only:
                changed = replace(changed, primary=changed.newest)
        write_keyring(file, changed)
    if add_only:
        typer.echo(
            f"added key {changed.newest.key_id}, which does not encrypt yet. Copy the file to all machines, then:"
        )
        typer.echo(f"tocsin keys rotate {file} --to {changed.newest.key_id}")
    else:
        typer.echo(
            f"key {changed.primary.key_id} encrypts from now on. What stands is encrypted anew by: tocsin reencrypt"
        )


def remove(file: File, key_id: KeyId) -> None:
    """Take a key out of the ring. What it encrypted cannot be read without it: run `tocsin reencrypt` before."""
    with _refusals():
        ring = read_keyring(file)
        if _key_of(ring, file, key_id) is ring.primary:
            raise KeyringError(f"key {key_id} is the primary, and was not removed: `tocsin keys rotate {file}` first")
        write_keyring(file, replace(ring, keys={name: key for name, key in ring.keys.items() if name != key_id}))
    typer.echo(f"removed key {key_id}")


def _key_of(ring: Keyring, file: Path, key_id: str) -> Key:
    if key_id not in ring.keys:
        raise KeyringError(f"key ring {file} has no key {key_id}: `tocsin keys list {file}` shows them")
    return ring.keys[key_id]


@contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be done is one line, exit code 1."""
    try:
        yield
    except KeyringError as error:
        typer.echo(f"tocsin {_COMMAND}: {error}", err=True)
        raise typer.Exit(_REFUSED) from None
