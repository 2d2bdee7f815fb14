"""A store that must not be used, whichever it is."""

from __future__ import annotations


class StoreUnfit(Exception):
    """The store answers, but must not be used as it is. One line: what is wrong and what to do. Exit code 2."""
