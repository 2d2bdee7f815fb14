"""Redis as companies run it: behind TLS with users of its own, behind sentinels, as a cluster. Needs redis-server."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError

from support.eventually import until
from support.ports import free_port
from support.redis_servers import REDIS, ServerProcess

#: Why these cannot run here, "" where they can.
MISSING = "" if REDIS else "redis-server is not on PATH"
OPENSSL = shutil.which("openssl")
MISSING_TLS = MISSING or ("" if OPENSSL else "openssl is not on PATH")

_SLOTS = 16_384


def asked(port: int, *command: str) -> object:
    """The answer of the server on a port, None while it does not answer."""
    try:
        with Redis(port=port, decode_responses=True, socket_timeout=2) as client:
            return client.execute_command(*command)
    except RedisError:
        return None


def replication(port: int) -> str:
    """What the server on a port says of its replication, "" while it does not answer."""
    with contextlib.suppress(RedisError), Redis(port=port) as client:
        return "".join(f"{name}:{value}\n" for name, value in client.info("replication").items())
    return ""


# --- TLS ---


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; who trusts `certificate` trusts them."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._own = self._make(name)

    @property
    def certificate(self) -> Path:
        """The file to trust."""
        return self._own.certificate

    def sign(self, name: str) -> Certificate:
        """A certificate of 127.0.0.1 and of this name."""
        signed_by = ("-CA", str(self._own.certificate), "-CAkey", str(self._own.key))
        return self._make(name, *signed_by, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")

    def _make(self, name: str, *options: str) -> Certificate:
        assert OPENSSL is not None
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        files = ("-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(made.certificate))
        subprocess.run([OPENSSL, *command.split(), *files, *options], check=True, stderr=subprocess.DEVNULL)
        return made


class TlsRedis:
    """A Redis that takes TLS alone, asks for a client certificate, and lets in only those whom its ACL names."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder)
        self.client_certificate = self.authority.sign("client")
        server = self.authority.sign("server")
        self.port = free_port()
        tls = {
            "tls-port": str(self.port),
            "bind": "127.0.0.1",
            "tls-cert-file": str(server.certificate),
            "tls-key-file": str(server.key),
            "tls-ca-cert-file": str(self.authority.certificate),
            "tls-auth-clients": "yes",
        }
        options = [part for name, value in tls.items() for part in (f"--{name}", value)]
        self._process = ServerProcess(str(REDIS), folder, "--port", "0", "--appendonly", "yes", *options)
        # By its socket, and before the door is locked.
        self.admin = Redis(unix_socket_path=str(self._process.socket), decode_responses=True)
        self.admin.execute_command("ACL", "SETUSER", "admin", "on", ">admin-pw", "~*", "&*", "+@all")
        self.admin.execute_command("AUTH", "admin", "admin-pw")

    def lock(self) -> None:
        """From now on nobody comes in without a user's name and password."""
        self.admin.execute_command("ACL", "SETUSER", "default", "off")

    def url(self, user: str, password: str, *, authority: Path | None = None, certificate: bool = True) -> str:
        """An address for REDIS_URL."""
        options = [f"ssl_ca_certs={authority or self.authority.certificate}"]
        if certificate:
            options += [
                f"ssl_certfile={self.client_certificate.certificate}",
                f"ssl_keyfile={self.client_certificate.key}",
            ]
        return f"rediss://{user}:{password}@127.0.0.1:{self.port}/0?{'&'.join(options)}"

    def stop(self) -> None:
        """Kill it."""
        self.admin.close()
        self._process.stop()


# --- sentinels ---


class SentinelGroup:
    """A primary and its replicas, watched by sentinels under the name "main".

    The primary takes writes only while a replica listens (`min-replicas-to-write 1`), and nothing is forgotten by a
    restart (AOF). down_after: milliseconds of silence after which a sentinel counts the primary as gone.
    """

    def __init__(self, folder: Path, *, replicas: int = 2, sentinels: int = 3, down_after: int = 1000) -> None:
        self._folder = folder
        ports = [free_port() for _ in range(1 + replicas)]
        options = ("--bind", "127.0.0.1", "--appendonly", "yes", "--repl-diskless-sync-delay", "0")
        options += ("--min-replicas-to-write", str(min(1, replicas)))
        self._nodes: dict[int, ServerProcess] = {}
        self._sentinels: dict[int, subprocess.Popen[bytes]] = {}
        try:
            for port in ports:
                own = folder / str(port)
                own.mkdir(parents=True)
                replica_of = () if port == ports[0] else ("--replicaof", "127.0.0.1", str(ports[0]))
                self._nodes[port] = ServerProcess(str(REDIS), own, "--port", str(port), *options, *replica_of)
            for port in ports[1:]:
                until(lambda port=port: "master_link_status:up" in replication(port), within=20)  # type: ignore[misc]
            until(lambda: self._heard(ports[0]) == replicas, within=20, what="replicas that count for the primary")
            for _ in range(sentinels):
                self._start_sentinel(ports[0], sentinels // 2 + 1, down_after)
            for port in self._sentinels:
                until(lambda port=port: self._knows(port, replicas, sentinels - 1), within=20)  # type: ignore[misc]
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The address for REDIS_URL, with all sentinels."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self._sentinels)}/main/0"

    @property
    def primary(self) -> int:
        """Port of the primary, as a majority of the sentinels sees it; 0 while they do not agree."""
        votes = [asked(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main") for port in self._sentinels]
        ports = [int(vote[1]) for vote in votes if isinstance(vote, (list, tuple))]
        return next((port for port in ports if 2 * ports.count(port) > len(self._sentinels)), 0)

    @property
    def replicas(self) -> list[int]:
        """Ports of all nodes but the primary."""
        return [port for port in self._nodes if port != self.primary]

    def role(self, port: int) -> str:
        """ "master" or "slave", "" while it does not answer."""
        answer = asked(port, "ROLE")
        return str(answer[0]) if isinstance(answer, (list, tuple)) else ""

    def kill(self, port: int) -> None:
        """kill -9 of one node."""
        self._nodes[port].stop()

    def start(self, port: int) -> None:
        """Start it again, as it was started first."""
        self._nodes[port].start()

    def fail_over(self) -> None:
        """Ask one sentinel for an orderly failover, as before an upgrade. Nothing dies."""
        assert asked(next(iter(self._sentinels)), "SENTINEL", "FAILOVER", "main") in ("OK", True)

    def stop(self) -> None:
        """Kill all of it."""
        for process in self._sentinels.values():
            process.kill()
            process.wait()
        for node in self._nodes.values():
            node.stop()

    def _start_sentinel(self, primary: int, quorum: int, down_after: int) -> None:
        port = free_port()
        config = self._folder / f"sentinel-{port}.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {self._folder}\n"
            f"sentinel monitor main 127.0.0.1 {primary} {quorum}\n"
            f"sentinel down-after-milliseconds main {down_after}\nsentinel failover-timeout main 5000\n"
        )
        self._sentinels[port] = subprocess.Popen([str(REDIS), str(config), "--sentinel"], stdout=subprocess.DEVNULL)

    def _knows(self, sentinel: int, replicas: int, others: int) -> bool:
        answer = asked(sentinel, "SENTINEL", "MASTER", "main")
        if isinstance(answer, list):
            answer = dict(zip(answer[::2], answer[1::2], strict=True))
        if not isinstance(answer, dict):
            return False
        return (int(answer["num-slaves"]), int(answer["num-other-sentinels"])) == (replicas, others)

    def _heard(self, port: int) -> int:
        said = re.search(r"min_slaves_good_slaves:(\d+)", replication(port))
        return int(said[1]) if said else 0


# --- cluster ---


class ClusterPart:
    """A cluster of primaries without replicas; each has an equal share of the slots, in order.

    full_coverage: as Redis has it by default, one node's death silences all; without, the others go on.
    """

    def __init__(self, folder: Path, *, nodes: int = 3, full_coverage: bool = False) -> None:
        self._folder = folder
        self.ports = [free_port() for _ in range(nodes)]
        self._buses = {port: free_port() for port in self.ports}
        self._nodes: dict[int, ServerProcess] = {}
        self._options = ("--bind", "127.0.0.1", "--appendonly", "yes", "--cluster-enabled", "yes")
        self._options += ("--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1")
        self._options += ("--cluster-require-full-coverage", "yes" if full_coverage else "no")
        self._options += ("--repl-diskless-sync-delay", "0")
        try:
            for port in self.ports:
                self._start_node(port)
            self._join()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The address for REDIS_URL, with all nodes."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{port}' for port in self.ports)}"

    def port_of(self, key: str) -> int:
        """Port of the node that has a key."""
        return self.ports[key_slot(key.encode()) * len(self.ports) // _SLOTS]

    def queue_on(self, port: int, like: str = "queue") -> str:
        """A queue's name, beginning like this, whose keys are on this node."""
        begin = re.sub(r"[^A-Za-z0-9._-]+", ".", like)[:90]
        return next(name for n in range(1000) if self.port_of(f"{{{(name := f'{begin}.{n}')}}}") == port)

    def process(self, port: int) -> subprocess.Popen[bytes]:
        """The node's process."""
        return self._nodes[port].process

    def kill(self, port: int) -> None:
        """kill -9 of one node."""
        self._nodes[port].stop()

    def start(self, port: int) -> None:
        """Start it again; returns when the cluster is whole."""
        self._nodes[port].start()
        self.until_whole()

    def keys(self, port: int) -> set[str]:
        """All keys on a node."""
        with Redis(port=port) as client:
            return {key.decode(errors="replace") for key in client.scan_iter(count=1000)}

    def stop(self) -> None:
        """Kill all of it."""
        for node in self._nodes.values():
            node.process.kill()
        for node in self._nodes.values():
            node.stop()

    def move_slot_of(self, key: str, to: int, keys_a_step: int = 10) -> None:
        """Move the slot of a key to another node while it is in use, as `redis-cli --cluster reshard` does it."""
        slot, origin = key_slot(key.encode()), self.port_of(key)
        names = {port: str(asked(port, "CLUSTER", "MYID")) for port in (origin, to)}
        with Redis(port=origin, socket_timeout=30) as source, Redis(port=to, socket_timeout=30) as target:
            target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[origin])
            source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[to])
            while keys := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, keys_a_step):
                source.execute_command("MIGRATE", "127.0.0.1", to, "", 0, 60_000, "KEYS", *keys)
            for node in (target, source):
                node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[to])

    def add_replica(self, of: int) -> None:
        """Give a node a replica, which takes over when it dies; returns when that has all it needs."""
        port = free_port()
        self._buses[port] = free_port()
        self._start_node(port)
        asked(of, "CLUSTER", "MEET", "127.0.0.1", str(port), str(self._buses[port]))
        name = str(asked(of, "CLUSTER", "MYID"))
        until(lambda: asked(port, "CLUSTER", "REPLICATE", name) in ("OK", True), within=20)
        until(lambda: "master_link_status:up" in replication(port), within=20)
        for other in self.ports:
            until(lambda other=other: "slave" in str(asked(other, "CLUSTER", "NODES")), within=20)  # type: ignore[misc]

    def _start_node(self, port: int) -> None:
        own = self._folder / str(port)
        own.mkdir(parents=True)
        bus = ("--cluster-port", str(self._buses[port]))
        self._nodes[port] = ServerProcess(str(REDIS), own, "--port", str(port), *bus, *self._options)

    def _join(self) -> None:
        count = len(self.ports)
        bounds = [-(-_SLOTS * at // count) for at in range(count + 1)]
        for at, port in enumerate(self.ports):
            with Redis(port=port) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[at], bounds[at + 1] - 1)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        with Redis(port=self.ports[0]) as client:
            for port in self.ports[1:]:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, self._buses[port])
        self.until_whole()

    def until_whole(self) -> None:
        """Wait until each node says that all slots are served."""
        for port in self.ports:
            until(lambda port=port: self._whole(port), within=20, what="a whole cluster")  # type: ignore[misc]

    def _whole(self, port: int) -> bool:
        said = str(asked(port, "CLUSTER", "INFO"))
        return "cluster_state:ok" in said and f"cluster_slots_ok:{_SLOTS}" in said
