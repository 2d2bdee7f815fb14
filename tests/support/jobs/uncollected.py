"""A handler in a server whose cycle collector is off, so that whatever is kept in a ring is seen."""

from __future__ import annotations

import gc

from support.jobs.occupying import handlers

__all__ = ["handlers"]

gc.disable()
