"""What TLS and tokens cost: the same rounds on a server that has neither and on one with mutual TLS and principals, in
turns. Processor time is compared, as in encrypting.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from support.certificates import Authority
from tocsin_server.security.principals import Scope
from tocsin_server.security.principals_file import create_token

from bench import encrypting
from bench.bed import QUEUE, RedisBed, bed
from bench.figures import Figure

OPEN, RESTRICTED, ALL = "open", "TLS, a token, one queue", "TLS, a token"


@contextmanager
def _beds(folder: Path) -> Iterator[Mapping[str, RedisBed]]:
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder / "ca")
        served, own, principals = authority.sign("server"), authority.sign("client"), folder / "principals.toml"
        whole, _ = create_token(principals, "whole", list(Scope), None)
        of_one, _ = create_token(principals, "one", list(Scope), None, (QUEUE,))
        env = {
            "TOCSIN_TLS__CERT_FILE": str(served.cert),
            "TOCSIN_TLS__KEY_FILE": str(served.key),
            "TOCSIN_TLS__CLIENT_CA_FILE": str(authority.ca),
            "TOCSIN_AUTH__PRINCIPALS_FILE": str(principals),
        }
        tls = grpc.ssl_channel_credentials(authority.ca.read_bytes(), own.key.read_bytes(), own.cert.read_bytes())

        def guarded(name: str, token: str) -> RedisBed:
            credentials = grpc.composite_channel_credentials(tls, grpc.access_token_call_credentials(token))
            return stack.enter_context(bed(folder / name, env=env, credentials=credentials))

        yield {
            OPEN: stack.enter_context(bed(folder / "open")),
            ALL: guarded("all", whole),
            RESTRICTED: guarded("one", of_one),
        }


async def compare(folder: Path, *, rounds: int, jobs: int, say: Callable[[str], None]) -> dict[str, Figure]:
    """Schedules by a call each and by batches, and no-op jobs run, of all three."""
    with _beds(folder) as beds:
        return await encrypting.in_turns(beds, rounds=rounds, jobs=jobs, calls=jobs // 4, say=say)


def markdown(about: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    """A table beside an open server for each kind of principal."""
    return "\n".join(encrypting.markdown(about, figures, (OPEN, name)) for name in (ALL, RESTRICTED))
