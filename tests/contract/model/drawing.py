"""Which call comes next, by chance: mostly one that the queue has something for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from tocsin_server.domain.states import State

from contract.model.attempts import AddAndClaim, Claim, Extend, Finish, Reap
from contract.model.calls import Add, Call, Cancel, Delete, Do, Update, Wanted
from contract.model.limits import Limited
from contract.model.queue_calls import (
    LIMITS,
    MANY,
    Check,
    Copy,
    Explain,
    Forget,
    Look,
    Pass,
    Plan,
    Promote,
    Set,
    Trim,
    Unplan,
)

NAMES = "abcdefghij"
#: Minutes beyond whole hours. The clock goes by hours, so that sums of few of these lie minutes off any time that is
#: looked at.
DELAY, WINDOW, MAX_WAIT, GRACE, LEASE, RETRY, EXPIRE, PAUSE, AGEING = 13, 8, 21, 6, 11, 19, 17, 43, 28


class Drawing:
    """Draws calls."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._made, self._first = chance, 0, True
        # What a life is mostly about, so that what needs several of a kind comes about, too.
        self._limit_keys, self._collapsing = chance.choice((0.4, 0.4, 0.95)), chance.choice((0.3, 0.05, 0.8))
        self._changing, self._failing = chance.choice((1, 4)), chance.choice((3, 9))

    def next(self, model: Limited) -> Call:
        """A call. Most lives have settings from the start."""
        if self._first:
            self._first = False
            if self._maybe(0.7):
                return self._set(model)
        weights: Mapping[Callable[[Limited], Call], int] = {
            self._add: 24,
            self._add_and_claim: 3,
            self._claim: 14,
            self._finish: 14,
            self._pass: 8,
            self._do: 10,
            self._update: 4,
            self._cancel: 5,
            self._delete: 4,
            self._extend: 4,
            self._set: self._changing,
            self._trim: 3,
            self._look: 3,
            lambda _: Reap(): 3,
            lambda _: Promote(): 3,
            self._copy: 3,
            self._explain: 4,
            self._plan: 2,
            lambda _: Unplan(self._chance.choice("rs")): 1,
            lambda _: Forget(all=self._maybe(0.2)): 1,
            lambda _: Check(): 1,
        }
        [draw] = self._chance.choices(list(weights), list(weights.values()))
        return draw(model)

    # --- parts ---

    def _one(self, model: Limited, *states: State) -> str:
        """Mostly a job in one of these states, else any name."""
        found = [job.name for job in model.jobs.values() if not states or job.state in states]
        if found and self._chance.random() < 0.9:
            return self._chance.choice(found)
        return self._chance.choice(NAMES)

    def _maybe(self, share: float) -> bool:
        return self._chance.random() < share

    def _hours(self, minutes: int, *hours: int) -> int:
        return 60 * self._chance.choice(hours or (0, 1, 2)) + minutes

    # --- calls ---

    def _add(self, model: Limited) -> Call:
        return Add(*(self._wanted() for _ in range(self._chance.choice((1, 1, 1, 2, 3)))))

    def _add_and_claim(self, model: Limited) -> Call:
        return AddAndClaim(*(self._wanted() for _ in range(self._chance.choice((1, 2)))))

    def _wanted(self) -> Wanted:
        words: dict[str, object] = {"type": self._chance.choice("ttu")}
        made = self._maybe(0.15)
        if made:
            self._made += 1
            words["made"] = True
        name = f"made {self._made}" if made else self._chance.choice(NAMES)
        if not made:
            words["on"] = self._chance.choice(("FAIL", "KEEP", "REPLACE", "REPLACE"))
        if self._maybe(0.3):
            words["delay"] = self._hours(DELAY)
        if self._maybe(0.3):
            words["priority"] = self._chance.choice((-1, 1, 2))
        for word, share, among in (("tag", 0.2, "vw"), ("body", 0.3, (3, 240)), ("key", self._limit_keys, "xy")):
            if self._maybe(share):
                words[word] = self._chance.choice(among)
        if self._maybe(0.1):
            words["keep"] = 0
        if self._maybe(self._collapsing):
            words |= self._collapse()
        if self._maybe(0.15):
            words[self._chance.choice(("expire", "expire_at"))] = self._hours(EXPIRE)
        return Wanted(name, **words)  # type: ignore[arg-type]

    def _collapse(self) -> dict[str, object]:
        mode = self._chance.choice(("KEEP", "REPLACE", "THROTTLE", "DEBOUNCE", "RUN_AGAIN_AFTER", "RUN_AGAIN_AFTER"))
        words: dict[str, object] = {"collapse": self._chance.choice("cd"), "mode": mode}
        if mode in ("THROTTLE", "DEBOUNCE") or (mode == "KEEP" and self._maybe(0.5)):
            words["window"] = self._hours(WINDOW)
        if mode == "DEBOUNCE" and self._maybe(0.5):
            words["max_wait"] = self._hours(MAX_WAIT)
        return words

    def _claim(self, model: Limited) -> Call:
        types = self._chance.choice(({"t": 9, "u": 9}, {"t": 9, "u": 9}, {"t": 9}, {"u": 9}, {"t": 1, "u": 2}))
        most = self._chance.choice((1, 2, 3, 9))
        return Claim(types, most, self._hours(LEASE, 0, 0, 3), again=self._maybe(0.15))

    def _finish(self, model: Limited) -> Call:
        how = self._chance.choice(("COMPLETED", "COMPLETED", *["FAILED"] * self._failing, "RELEASED", "CRASHED"))
        retry = self._chance.choice((None, 0, RETRY, 60 + RETRY)) if how == "FAILED" else None
        pause = self._chance.choice(sorted(LIMITS)) if how == "FAILED" and self._maybe(0.1) else ""
        back = 0 if self._maybe(0.9) else 1
        states = (State.ACTIVE,) if self._maybe(0.85) else ()
        return Finish(self._one(model, *states), how, retry, back, pause)

    def _pass(self, model: Limited) -> Call:
        return Pass(self._chance.choice((1, 1, 1, 2, 5)))

    def _do(self, model: Limited) -> Call:
        return Do(self._chance.choice(("Run", "Retry", "Retry", "Hold", "Hold", "Release")), self._one(model))

    def _update(self, model: Limited) -> Call:
        words: dict[str, object] = {}
        if self._maybe(0.6):
            words["delay"] = self._chance.choice((0, self._hours(DELAY)))
        if self._maybe(0.4):
            words["priority"] = self._chance.choice((-1, 0, 1, 2))
        if self._maybe(0.3):
            words["tag"] = self._chance.choice("vw")
        if self._maybe(0.2):
            words["body"] = self._chance.choice((5, 320))
        if self._maybe(0.1):
            words["wrong_revision"] = True
        pending = (State.SCHEDULED, State.BLOCKED, State.WAITING)
        return Update(self._one(model, *pending), **words)  # type: ignore[arg-type]

    def _cancel(self, model: Limited) -> Call:
        return Cancel(self._one(model), self._hours(GRACE, 0, 0, 2))

    def _delete(self, model: Limited) -> Call:
        return Delete(self._one(model), ended_only=self._maybe(0.4))

    def _extend(self, model: Limited) -> Call:
        progress = self._chance.choice((None, 0.25, 0.5))
        return Extend(self._one(model, State.ACTIVE), self._hours(LEASE), progress, int(self._maybe(0.1)))

    def _set(self, model: Limited) -> Call:
        words: dict[str, object] = {}
        if self._maybe(0.6):
            some = self._chance.sample(sorted(LIMITS), self._chance.choice((1, 1, 2, 3)))
            words["limits"] = tuple(sorted({*some, "one a key"}) if self._maybe(0.3) else some)
        if self._maybe(0.25):
            words["fair"] = True
        if self._maybe(0.3):
            words["ageing"] = self._chance.choice((AGEING, 4 * AGEING))
        if self._maybe(0.2):
            words["pause"] = self._chance.choice((0, self._hours(PAUSE)))
        if self._maybe(0.15):
            words["drain"] = True
        for word in ("completed_max", "failed_max"):
            if self._maybe(0.1):
                words[word] = self._chance.choice((0, 2))
        return Set(**words)  # type: ignore[arg-type]

    def _trim(self, model: Limited) -> Call:
        most: Sequence[int] = (MANY, MANY, 0, 2)
        return Trim(self._chance.choice(most), self._chance.choice(most))

    def _look(self, model: Limited) -> Call:
        states = self._chance.sample([state.name for state in State], self._chance.choice((0, 1, 2)))
        return Look(tuple(states), self._chance.choice(("", "t", "tu")), self._chance.choice(("", "v")))

    def _copy(self, model: Limited) -> Call:
        name = self._one(model)
        into = name if self._maybe(0.3) else self._one(model) if self._maybe(0.3) else self._chance.choice(NAMES)
        return Copy(name, into, self._maybe(0.6), self._chance.choice((0, 0, 1, 300)))

    def _explain(self, model: Limited) -> Call:
        return Explain(self._one(model, *(() if self._maybe(0.5) else (State.WAITING, State.BLOCKED))))

    def _plan(self, model: Limited) -> Call:
        fires = tuple(self._chance.sample(NAMES, self._chance.choice((0, 1, 2))))
        return Plan(self._chance.choice("rs"), self._chance.choice((0, 2, 5)), fires, outrun=self._maybe(0.15))
