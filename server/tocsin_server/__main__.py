"""`python -m tocsin_server`: the server's commands, where the `tocsin` command is not on PATH."""

from __future__ import annotations

import typer

from tocsin_server.cli import dev, doctor, migrate, serve

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (serve, dev, doctor, migrate):
    command.register(app)

if __name__ == "__main__":
    app(prog_name="tocsin")
