"""Requests of BulkService."""

from __future__ import annotations

from dataclasses import replace

from tocsin.v1 import bulk_service_pb2 as pb
from tocsin.v1 import payloads_pb2

from tocsin_server.api import bulk_tokens
from tocsin_server.api.requests.payloads.bulk_action import check_wish
from tocsin_server.api.requests.violations import Violations
from tocsin_server.api.times import set_time
from tocsin_server.api.wire import PAYLOAD_FIELDS
from tocsin_server.domain import limits
from tocsin_server.domain.bulk_actions import BULK_TYPE, ActionMoment, BulkOrder
from tocsin_server.domain.job import Payload
from tocsin_server.handlers.bulk_action import order_of

_KIND = next(number for number, name in PAYLOAD_FIELDS.items() if name == BULK_TYPE)


def bulk_act(request: pb.BulkActRequest, caller: str) -> tuple[payloads_pb2.BulkAction, BulkOrder]:
    """What is wished, as `caller` wishes it: the message that tokens are about, and the order, with the moment of its
    token where there is one."""
    wish = _wish(request)
    wrong = Violations()
    check_wish(wrong, "", wish)
    if request.dry_run and request.token:
        wrong.add("token", "cannot stand beside dry_run: a dry run gives a token")
    wrong.done()
    wish.queue = wish.queue or limits.DEFAULT_QUEUE
    order = order_of(wish, wish.queue, caller)
    if request.token:
        order = replace(order, moment=bulk_tokens.bulk_moment(wish, request.token))
    return wish, order


def payload_of_action(wish: payloads_pb2.BulkAction, order: BulkOrder, moment: ActionMoment) -> Payload:
    """The payload of the job that acts."""
    kept = payloads_pb2.BulkAction()
    kept.CopyFrom(wish)
    kept.by = order.by
    set_time(kept.moment.time, moment.time)
    kept.moment.arrival, kept.moment.cursor = moment.arrival, moment.cursor
    if moment.matched is not None:
        kept.moment.matched = moment.matched
    return Payload(_KIND, kept.SerializeToString())


def brought_payload(kind: int, body: bytes, bringer: str) -> bytes:
    """A payload of an import, that of a bulk action as its bringer's wish: whoever imports could name anybody."""
    if kind != _KIND:
        return body
    action = payloads_pb2.BulkAction.FromString(body)
    action.by = bringer
    return action.SerializeToString()


def _wish(request: pb.BulkActRequest) -> payloads_pb2.BulkAction:
    """The request's shadow message (wire.py), as a payload: by way of the wire, for they are of two pools."""
    wish = payloads_pb2.BulkAction(queue=request.queue)
    if request.HasField("filter"):
        wish.filter.MergeFromString(request.filter.SerializeToString())
        wish.filter.SetInParent()
    if (name := request.WhichOneof("action")) is not None:
        getattr(wish, name).MergeFromString(getattr(request, name).SerializeToString())
        getattr(wish, name).SetInParent()
    if request.HasField("max_jobs"):
        wish.max_jobs = request.max_jobs
    return wish
