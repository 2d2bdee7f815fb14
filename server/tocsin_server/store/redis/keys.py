"""Names of keys, from a namespace and a queue. What hangs under a queue's root stands in lua/lib/keys.lua."""

from __future__ import annotations


class Keys:
    """Names of the keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.queues = f"{namespace}:queues"  # SET of all queues' names
        self.calendars = f"{namespace}:calendars:{{~}}"  # root, see lua/lib/calendars.lua; "~" is in no queue's name
        self.shared = f"{namespace}:shared:{{~}}"  # root of the book of shared limits, see lua/read_shared.lua
        self.workers = f"{namespace}:workers"  # HASH, see lua/announce.lua
        self.format = f"{namespace}:format"  # STRING, the number of the stored format
        self.clock = f"{namespace}:clock"  # STRING, by how many ms a clock moved by hand is ahead; else not there
        self.encrypted = f"{namespace}:encrypted"  # STRING, the id of the key it was last written with; else not there
        self.wake = f"{namespace}:wake"  # channel, see lua/lib/tick.lua

    def root(self, queue: str) -> str:
        """Root of a queue's keys; the braces keep them in one hash slot."""
        return f"{self.namespace}:{{{queue}}}"

    def tick(self, queue: str) -> str:
        """The queue's tick record."""
        return f"{self.root(queue)}:k"

    def hash(self, queue: str) -> str:
        """The queue's own fields."""
        return f"{self.root(queue)}:q"

    def events(self, queue: str) -> str:
        """The queue's stream of changes."""
        return f"{self.root(queue)}:v"

    def record(self, queue: str, arrival: int) -> bytes:
        """A job's record."""
        return self.root(queue).encode() + b":j" + arrival.to_bytes(6, "big")

    def note(self, queue: str, key: str) -> str:
        """A note: 8 bytes of its revision, then its value; see lua/write_note.lua."""
        return f"{self.root(queue)}:b{key}"

    def schedules(self, queue: str) -> str:
        """The queue's schedules; see lua/put_schedules.lua."""
        return f"{self.root(queue)}:z"

    def extras(self, queue: str, arrival: int) -> bytes:
        """A job's errors, progress, result and cancel."""
        return self.root(queue).encode() + b":h" + arrival.to_bytes(6, "big")
