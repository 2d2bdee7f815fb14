"""One message to several people: each gets it once, over all attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from tocsin_server.messages.delivery import deliver
from tocsin_server.messages.errors import Deferred, NotAllSent, Refused
from tocsin_server.messages.mark import reached_before

DIGEST = "0123abcd"
NOBODY: frozenset[int] = frozenset()


@dataclass
class Way:
    """A channel that answers by address."""

    name: str
    addresses: Sequence[str]
    troubles: dict[str, Exception] = field(default_factory=dict)
    missing: str = ""
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def send(self, place: int) -> Mapping[str, object]:
        address = self.addresses[place]
        self.asked.append(address)
        if trouble := self.troubles.get(address):
            raise trouble
        self.sent.append(address)
        return {"id": f"{self.name}-{address}"}


async def test_all_get_it_over_each_channel() -> None:
    mail, sms = Way("email", ["a", "b"]), Way("sms", ["1"])
    assert await deliver([mail, sms], NOBODY, DIGEST) == {
        "email": {"accepted": [{"address": "a", "id": "email-a"}, {"address": "b", "id": "email-b"}], "refused": []},
        "sms": {"accepted": [{"address": "1", "id": "sms-1"}], "refused": []},
    }


async def test_who_is_refused_among_others_is_told_and_the_job_succeeds() -> None:
    sms = Way("sms", ["1", "2"], {"1": Refused("no such number")})
    result = await deliver([sms], NOBODY, DIGEST)
    assert result["sms"]["refused"] == [{"address": "1", "answer": "no such number"}]
    assert sms.sent == ["2"]


async def test_one_channel_that_fails_does_not_send_the_other_twice() -> None:
    mail, sms = Way("email", ["a", "b"]), Way("sms", ["1", "2", "3"], {"2": Deferred("503")})
    with pytest.raises(NotAllSent) as caught:
        await deliver([mail, sms], NOBODY, DIGEST)
    assert str(caught.value) == f"sent already to 1-3,5 of 5 ({DIGEST}); sms, 1 not reached: 503"

    sms.troubles.clear()
    before = reached_before([str(caught.value)], 5, DIGEST)
    result = await deliver([mail, sms], before, DIGEST)
    assert (mail.sent, sms.sent) == (["a", "b"], ["1", "3", "2"])
    assert result["email"] == {"accepted": [], "refused": [], "earlier": ["a", "b"]}
    assert result["sms"]["earlier"] == ["1", "3"]


async def test_the_mark_grows_over_attempts() -> None:
    sms = Way("sms", ["1", "2", "3"], {"2": Deferred("503"), "3": Deferred("503")})
    with pytest.raises(NotAllSent) as first:
        await deliver([sms], NOBODY, DIGEST)
    del sms.troubles["3"]
    with pytest.raises(NotAllSent) as second:
        await deliver([sms], reached_before([str(first.value)], 3, DIGEST), DIGEST)
    assert reached_before([str(first.value), str(second.value)], 3, DIGEST) == {0, 2}
    assert sms.sent == ["1", "3"]


async def test_a_provider_that_is_away_is_asked_once() -> None:
    sms = Way("sms", ["1", "2", "3"], {"1": Deferred("away", everyone=True)})
    with pytest.raises(NotAllSent, match="sms, 3 not reached: away"):
        await deliver([sms], NOBODY, DIGEST)
    assert sms.asked == ["1"]


async def test_the_longest_wait_that_was_asked_for_is_kept() -> None:
    ways = [Way(str(n), ["x"], {"x": Deferred("429", retry_in=timedelta(seconds=n))}) for n in (3, 9)]
    with pytest.raises(NotAllSent, match="429") as caught:
        await deliver([*ways, Way("sms", ["1"], {"1": Deferred("503")})], NOBODY, DIGEST)
    assert caught.value.retry_in == timedelta(seconds=9)


async def test_a_channel_over_which_nobody_can_be_reached_ends_the_job_as_failed() -> None:
    mail, sms = Way("email", ["a"]), Way("sms", ["1"], {"1": Refused("401")})
    with pytest.raises(Refused, match=rf"^sent already to 1 of 2 \({DIGEST}\); sms, 1 not reached: 401$"):
        await deliver([mail, sms], NOBODY, DIGEST)
    with pytest.raises(Refused, match=r"set sms\.url"):
        await deliver([Way("email", ["a"]), Way("sms", ["1"], missing="set sms.url")], NOBODY, DIGEST)


async def test_what_may_still_succeed_goes_before_what_cannot() -> None:
    away, missing = Way("email", ["a"], {"a": Deferred("away")}), Way("sms", ["1"], missing="set sms.url")
    with pytest.raises(NotAllSent, match=r"away; sms, 1 not reached: set sms\.url"):
        await deliver([away, missing], NOBODY, DIGEST)


async def test_over_a_fault_of_ours_nobody_who_was_reached_is_forgotten() -> None:
    sms = Way("sms", ["1", "2"], {"2": ZeroDivisionError("private words")})
    with pytest.raises(NotAllSent, match=r"^sent already to 1 of 2 .*; sms, 1 not reached: ZeroDivisionE") as caught:
        await deliver([sms], NOBODY, DIGEST)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_a_long_answer_leaves_the_mark_whole() -> None:
    addresses = [str(n) for n in range(100)]
    odd = {address: Deferred("ß" * 5_000) for address in addresses[::2]}
    with pytest.raises(NotAllSent) as caught:
        await deliver([Way("email", addresses, odd), Way("sms", addresses, odd)], NOBODY, DIGEST)
    kept = str(caught.value).encode()[:1_024].decode(errors="ignore")
    assert len(reached_before([kept], 200, DIGEST)) == 100
