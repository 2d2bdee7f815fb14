"""The proxy itself: a fault that is not provoked proves nothing."""

from __future__ import annotations

import contextlib

import pytest
import redis.exceptions
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.eventually import until
from support.redis_backend import RedisBackend
from support.tcp_proxy import Fate, Mode, TcpProxy


def through(proxy: TcpProxy) -> Redis:
    return Redis(port=proxy.port, socket_timeout=2, retry=Retry(NoBackoff(), 0))


def test_it_passes_what_it_is_not_told_to_lose(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        assert client.set("proxy", b"x" * 300_000)
        assert client.get("proxy") == b"x" * 300_000


def test_a_swallowed_reply_is_lost_though_the_command_acted(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        shared_redis.client.delete("counter")
        order = proxy.swallow_reply_to(b"INCR", skip=1)
        assert client.incr("counter") == 1
        with pytest.raises(redis.exceptions.ConnectionError):
            client.incr("counter")
        assert order.done.wait(5)
        assert client.incr("counter") == 3


def test_a_request_that_is_cut_before_does_not_arrive(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        shared_redis.client.set("counter", 5)
        order = proxy.order(lambda piece: b"INCR" in piece, Fate.CUT_BEFORE)
        with pytest.raises(redis.exceptions.ConnectionError):
            client.incr("counter")
        assert order.done.is_set()
        assert client.incr("counter") == 6


def test_held_requests_do_not_arrive_and_are_not_answered_until_that_is_forgotten(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        shared_redis.client.set("counter", 5)
        assert client.ping()
        order = proxy.order(b"INCR", Fate.HELD)
        for _ in range(2):
            with Redis(port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as other:
                with pytest.raises(redis.exceptions.TimeoutError):
                    other.incr("counter")
        assert order.done.is_set()
        assert proxy.accepted == 3
        proxy.forget_orders()
        assert client.incr("counter") == 6


def test_dropped_messages_do_not_arrive_and_the_rest_does(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client, client.pubsub() as heard:
        heard.subscribe("bell")
        assert heard.get_message(timeout=5)["type"] == "subscribe"
        proxy.drop_replies(lambda data: b"first" in data)
        shared_redis.client.publish("bell", "first")
        # The two replies must not come in one piece, which would be dropped whole.
        until(lambda: proxy.dropped == 1, within=5)
        heard.ping()
        assert heard.get_message(timeout=5)["type"] == "pong"
        shared_redis.client.publish("bell", "second")
        assert heard.get_message(timeout=5)["data"] == b"second"
        assert proxy.dropped == 1


def test_refused_and_cut_connections_end_and_new_ones_work_again(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        assert client.ping()
        proxy.set_mode(Mode.REFUSE)
        with pytest.raises(redis.exceptions.ConnectionError):
            client.ping()
        proxy.set_mode(Mode.PASS)
        assert client.ping()
        before = proxy.accepted
        proxy.cut()
        with contextlib.suppress(redis.exceptions.ConnectionError):  # or the client sees the cut before it sends
            client.ping()
        assert client.ping()
        assert proxy.accepted == before + 1


def test_a_black_hole_answers_nothing(shared_redis: RedisBackend) -> None:
    with TcpProxy("127.0.0.1", shared_redis.port) as proxy, through(proxy) as client:
        assert client.ping()
        client.connection_pool.connection_kwargs["socket_timeout"] = 0.2
        proxy.set_mode(Mode.BLACK_HOLE)
        with Redis(port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as other:
            with pytest.raises(redis.exceptions.TimeoutError):
                other.ping()
