"""Where the `tocsin` command begins. Works without typer, to say that it is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process; never returns."""
    try:
        from tocsin.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.exit("tocsin: the command line needs typer and rich; install it with: pip install 'tocsin[cli]'")
    run(sys.argv[1:])


if __name__ == "__main__":
    main()
