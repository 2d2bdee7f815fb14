"""Records of an export, sealed whole: tags and names with them, and not as they stand, for there each value is bound to
its place in this store, and an import may bring it into another."""

from __future__ import annotations

from tocsin_server.store.encrypting.keyring import LiveKeyring
from tocsin_server.store.encrypting.sealing import open_sealed, seal
from tocsin_server.store.sealed_store import RecordSealer


class KeyedRecordSealer(RecordSealer):
    """With the keys of a ring."""

    def __init__(self, keys: LiveKeyring) -> None:
        self._keys = keys

    def seal(self, queue: str, kind: int, record: bytes) -> tuple[bytes, str]:
        key = self._keys.ring.primary
        return seal(key, _field(kind), queue, "", record), key.key_id

    def open(self, queue: str, kind: int, sealed: bytes) -> bytes:
        return open_sealed(self._keys, _field(kind), queue, "", sealed)


def _field(kind: int) -> str:
    return f"export {kind}"
