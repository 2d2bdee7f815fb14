"""Command lines run in this process: to start one of its own takes a second of processor time, and a file of tests has
dozens. That the program itself starts, with its terminal, its signals and its exit code, others try."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from tocsin.cli.app import run


def typed(*arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """`tocsin` with these words in a pipe, run to its end. With `check` CalledProcessError where that is not 0. One at
    a time in a process."""
    out, err = io.StringIO(), io.StringIO()
    said = {name: value for name, value in os.environ.items() if name != "COLUMNS" and not name.startswith("TOCSIN_")}
    with mock.patch.dict(os.environ, said, clear=True), redirect_stdout(out), redirect_stderr(err):
        try:
            run(arguments)
        except SystemExit as left:
            code = left.code
    if isinstance(code, str):  # what is said last, as Python itself would
        err.write(f"{code}\n")
        code = 1
    done = subprocess.CompletedProcess(["tocsin", *arguments], code or 0, out.getvalue(), err.getvalue())
    if check:
        done.check_returncode()
    return done
