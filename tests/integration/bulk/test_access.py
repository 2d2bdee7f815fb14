"""Who may act on many jobs, and who may only look; what the audit log says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.eventually import until
from support.redis_backend import RedisBackend
from support.servers import Server
from tocsin import BulkAction, BulkFilter, Client, InvalidArgument, PermissionDenied
from tocsin.v1 import payloads_pb2
from tocsin_server.security.principals import hash_of

As = Callable[[str], Client]


def principal(name: str, scopes: str, queues: str = "") -> str:
    return f"""
[[principal]]
name = "{name}"
scopes = [{", ".join(f'"{scope}"' for scope in scopes.split())}]
{f"queues = [{queues}]" if queues else ""}
[[principal.token]]
id = "{hash_of(name)[-6:]}"
sha256 = "{hash_of(name)}"
"""


PRINCIPALS = "".join(
    (
        principal("shop", "read read_payload schedule operate"),
        principal("reader", "read"),
        principal("operator", "operate"),
        principal("scheduler", "read schedule"),
        principal("mail", "read schedule operate", '"mail", "mail.*"'),
    )
)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def as_(redis: RedisBackend, serve: Callable[..., Server], audit: Path, tmp_path: Path) -> Iterator[As]:
    """`as_("shop")` is a client of that principal."""
    file = tmp_path / "principals.toml"
    file.write_text(PRINCIPALS)
    file.chmod(0o600)
    server = serve(redis.url, TOCSIN_AUTH__PRINCIPALS_FILE=str(file), TOCSIN_AUDIT__TO=f"file:{audit}")
    opened: list[Client] = []

    def client(name: str) -> Client:
        opened.append(Client(server.address, token=name, tls=False, deadline=20, retries=False))
        return opened[-1]

    with client("shop") as shop:
        for queue in ("default", "mail", "secret"):
            shop.schedule("nobody", {"a": "secret"}, queue=queue, job_id="a", delay=3600)
    yield client
    for one in opened:
        one.close()


def told_in(audit: Path, calls: int) -> list[dict[str, object]]:
    """What is told of so many bulk calls, in any order: a line comes at the end of its stream, for which a client that
    has the last answer does not wait."""

    def told() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in audit.read_text().splitlines() if "BulkAct" in line]
        return lines if len(lines) >= calls else []

    return until(told, within=20)


def test_a_dry_run_is_for_who_reads_and_an_act_for_who_operates(as_: As, audit: Path) -> None:
    reader, operator = as_("reader"), as_("operator")
    preview = reader.bulk.preview("cancel", all=True)
    assert preview.matched == 1
    with pytest.raises(PermissionDenied, match="takes the scope operate"):
        reader.bulk.run(preview)
    with pytest.raises(PermissionDenied, match="takes the scope read"):
        operator.bulk.preview("cancel", all=True)
    done = operator.bulk.run(preview)  # a token gives no right, and takes none
    assert done.done == 1
    cancel = as_("shop").get("a").cancel
    assert cancel is not None
    assert cancel.by == "operator"
    told = told_in(audit, 4)
    assert {(one["principal"], one["outcome"], one.get("action"), one.get("dry_run")) for one in told} == {
        ("reader", "OK", "cancel", True),
        ("reader", "PERMISSION_DENIED", "cancel", None),
        ("operator", "PERMISSION_DENIED", "cancel", True),
        ("operator", "OK", "cancel", None),
    }
    assert len(told) == 4


def test_the_audit_log_says_where_a_move_was_to_go(as_: As, audit: Path) -> None:
    shop = as_("shop")
    shop.bulk.run("move", queue="mail", all=True, target="mail.slow")
    shop.bulk.run("cancel", queue="mail.slow", all=True)
    told = told_in(audit, 2)
    assert {(one["queue"], one["action"], one.get("target")) for one in told} == {
        ("mail", "move", "mail.slow"),
        ("mail.slow", "cancel", None),
    }


def test_no_queue_is_acted_upon_that_its_caller_does_not_reach(as_: As) -> None:
    mail, shop = as_("mail"), as_("shop")
    for queue, target in (("secret", "mail"), ("mail", "secret"), ("", "mail"), ("tocsin.bulk", "mail")):
        with pytest.raises(PermissionDenied, match="does not reach the queue"):
            mail.bulk.run("move", queue=queue, all=True, target=target)
    with pytest.raises(PermissionDenied):
        mail.bulk.preview("cancel", queue="secret", all=True)
    assert mail.bulk.run("move", queue="mail", all=True, target="mail.slow").done == 1
    assert shop.get("a", queue="mail.slow").payload == {"a": "secret"}
    preview = mail.bulk.preview("move", queue="mail.slow", all=True, target="mail")
    with pytest.raises(InvalidArgument):  # the token of another queue
        mail.bulk.run("move", queue="mail", all=True, target="mail.slow", token=preview.token)


def test_an_action_is_scheduled_by_those_alone_who_may_act(as_: As) -> None:
    def action(queue: str = "", **more: object) -> BulkAction:
        return BulkAction(
            queue=queue,
            filter=BulkFilter(types=["nobody"]),
            cancel=payloads_pb2.BulkAction.Cancel(),
            **more,  # type: ignore[arg-type]
        )

    scheduler, mail, shop = as_("scheduler"), as_("mail"), as_("shop")
    with pytest.raises(PermissionDenied, match="takes the scope operate"):
        scheduler.schedule(action())
    with pytest.raises(PermissionDenied, match="takes the scope operate"):
        scheduler.schedules.create("nightly", cron="0 3 * * *", type=action())
    with pytest.raises(PermissionDenied, match="does not reach"):
        mail.schedule(action("secret"), queue="mail")
    for forged in ({"by": "root"}, {"moment": BulkAction.Moment(arrival=9)}):
        with pytest.raises(InvalidArgument, match=r"is set by BulkService\.BulkAct alone"):
            shop.schedule(action(**forged))
    assert {shop.get("a", queue=queue).state for queue in ("default", "mail", "secret")} == {"SCHEDULED"}
    job = shop.schedule(action(), job_id="once")
    result = shop.wait(job, timeout=20).result
    assert isinstance(result, dict)
    assert (result["queue"], result["done"]) == ("default", 1)
    cancel = shop.get("a").cancel
    assert cancel is not None
    assert cancel.by == "default/once"
