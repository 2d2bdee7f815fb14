"""A store that holds what is encrypted says so in itself, checked when it is opened."""

from __future__ import annotations

from tocsin_server.store.interface import StoreUnfit


def check_mark(marked: str, *, keys: bool) -> None:
    """StoreUnfit where what is in the store cannot be read by whoever opens it without keys."""
    if marked and not keys:
        raise StoreUnfit(
            f"the store is encrypted (last with key {marked}), and this server has no key ring: name its file in "
            "encryption.keyring_file (docs/encryption.md)"
        )
