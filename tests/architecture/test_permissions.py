"""What the Redis store does, what is checked at the start, and the ACL that docs/redis.md gives name the same."""

from __future__ import annotations

import re

from integration.topologies.acl import documented
from support.source_tree import LUA
from tocsin_server.store.redis.permissions import COMMANDS


def test_the_documented_user_has_exactly_what_is_checked_at_the_start() -> None:
    allowed = {word[1:] for word in documented("x") if word.startswith("+")}
    named = {example.split()[0].lower() for example in COMMANDS}
    assert allowed - named == {"select", "client|setname", "info", "config|get"}
    assert named <= allowed


def test_what_scripts_call_is_checked_at_the_start() -> None:
    source = "".join(path.read_text() for path in LUA.rglob("*.lua"))
    called = set(re.findall(r"(?:redis\.p?call|call_each)\('([A-Z]+)'", source))
    assert len(called) > 20
    assert called <= {example.split()[0] for example in COMMANDS}
