"""`tocsin serve` or `tocsin worker`, as it is, in a process that tells besides when jobs began."""

from __future__ import annotations

import json
import sys
import threading
from typing import TextIO

from tocsin.cli.main import main

from bench.peers.tocsin_handlers import CLOCK


def _answers(said: TextIO) -> None:
    """The questions that a worker is asked; the command's own thread is not held up."""

    def say(message: object) -> None:
        said.write(json.dumps(message) + "\n")
        said.flush()

    for line in sys.stdin:
        question = json.loads(line)
        if "do" in question:
            asked = question
            say({"prepared": {}})
        else:
            say({"done": CLOCK.collect(asked["jobs"], asked.get("skip"))})


if __name__ == "__main__":
    threading.Thread(target=_answers, args=(sys.stdout,), daemon=True).start()
    sys.stdout = sys.stderr
    main()
