"""Rules on a payload raw."""

from __future__ import annotations

from tocsin.v1 import payloads_pb2

from tocsin_server.api.validation.violations import Violations

_CONTENT_TYPE_CHARACTERS = 255


def check_raw(wrong: Violations, path: str, raw: payloads_pb2.RawPayload) -> None:
    """Bytes of the caller's own."""
    wrong.characters(f"{path}.content_type", raw.content_type, _CONTENT_TYPE_CHARACTERS)
