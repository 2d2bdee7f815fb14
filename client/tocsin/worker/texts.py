"""Texts cut to what the store keeps of them."""

from __future__ import annotations


def cut(text: str, limit: int) -> str:
    """The beginning of `text`, at most `limit` bytes of UTF-8; half a surrogate pair becomes "?"."""
    if len(text) * 4 <= limit and text.isascii():
        return text
    encoded = text.encode("utf-8", "replace")
    return (encoded if len(encoded) <= limit else encoded[:limit]).decode("utf-8", "ignore")


def cut_start(text: str, limit: int) -> str:
    """The end of `text`, at most `limit` bytes of UTF-8; half a surrogate pair becomes "?"."""
    encoded = text.encode("utf-8", "replace")
    return (encoded if len(encoded) <= limit else encoded[-limit:]).decode("utf-8", "ignore")
