"""The faults of a run, drawn from a seed: pure. The same seed, length, kinds and consumers give the same schedule."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ACTIVE",
    "DEFAULT_KINDS",
    "KINDS",
    "LONG_RUN_S",
    "REDIS",
    "UPSTREAM",
    "Step",
    "fault_window",
    "schedule",
    "settle_s",
]

REDIS: Final = "redis"
ACTIVE: Final = "worker:active"
"""Whoever holds the market's lease when the fault begins."""
STANDBY: Final = "worker:standby"
UPSTREAM: Final = "upstream"

WARM_UP_S: Final = 3.0
MAX_SETTLE_S: Final = 24.0
"""Backoff doubles, so a client is back no later after an outage than the outage was long, plus jitter."""
SETTLE_SHARE: Final = 0.4
LONG_RUN_S: Final = 150.0
"""From here on upstream links are also half open for longer than the 40 s after which a session counts as stale."""
GAP_S: Final = (1.5, 5.0)
STALE_S: Final = 46.0


@dataclass(frozen=True, slots=True)
class Step:
    """One fault to do.

    Attributes:
        at_s: seconds after the start of the run.
        fault: one of `KINDS`.
        target: ``redis``, ``worker:active``, ``consumer:<name>``, ``upstream``, or a link: ``up:active``,
            ``redis:active``, ``redis:<consumer>``.
        duration_s: how long it lasts: until the killed process is started again, the stopped one goes on, the link is
            whole again. 0 for what has no length.
        value: bytes per second (throttle), seconds (delay), seconds of writes (lose), frames (junk), else 0.
        direction: for half_open and hold: ``both``, ``to`` (towards the server) or ``from``.
    """

    at_s: float
    fault: str
    target: str
    duration_s: float
    value: float = 0.0
    direction: str = "both"

    @property
    def end_s(self) -> float:
        """When it is over."""
        return self.at_s + self.duration_s

    def __str__(self) -> str:
        more = f" {self.direction}" if self.fault in ("half_open", "hold") else ""
        value = f" value={self.value:g}" if self.value else ""
        return f"{self.at_s:7.2f} s  {self.fault:<9} {self.target:<20} {self.duration_s:5.2f} s{more}{value}"


def _links(consumers: Sequence[str]) -> list[str]:
    return ["up:active", "redis:active", "redis:standby", *(f"redis:{name}" for name in consumers)]


def _kill(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    target = draw.choice([REDIS, ACTIVE, *(f"consumer:{name}" for name in consumers)])
    return target, draw.uniform(0.2, min(10.0, limit)), 0.0, "both"


def _lose(draw: random.Random, _: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    return REDIS, draw.uniform(min(2.0, limit), min(8.0, limit)), round(draw.uniform(0.1, 1.5), 3), "both"


def _wipe(_: random.Random, __: Sequence[str], ___: float) -> tuple[str, float, float, str]:
    return REDIS, 0.0, 0.0, "both"


def _term(draw: random.Random, _: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    return ACTIVE, draw.uniform(0.2, min(5.0, limit)), 0.0, "both"


def _stop(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    target = draw.choice([REDIS, ACTIVE, STANDBY, *(f"consumer:{name}" for name in consumers)])
    return target, draw.uniform(1.0, min(20.0, limit)), 0.0, "both"


def _cut(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    duration = draw.choice([0.0, draw.uniform(0.2, min(6.0, limit))])
    return draw.choice(_links(consumers)), duration, 0.0, "both"


def _half_open(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    target, longest = draw.choice(_links(consumers)), min(15.0, limit)
    if target == "up:active" and limit > STALE_S:
        longest = STALE_S
    shortest = min(2.0, longest)
    return target, draw.uniform(shortest, longest), 0.0, draw.choice(("both", "to", "from"))


def _hold(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    direction = draw.choice(("both", "to", "from"))
    return draw.choice(_links(consumers)), draw.uniform(0.5, min(8.0, limit)), 0.0, direction


def _throttle(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    rate = draw.choice((20_000.0, 60_000.0, 150_000.0))
    return draw.choice(_links(consumers)), draw.uniform(2.0, max(2.0, min(8.0, limit))), rate, "both"


def _delay(draw: random.Random, consumers: Sequence[str], limit: float) -> tuple[str, float, float, str]:
    seconds = round(draw.uniform(0.02, 0.6), 3)
    return draw.choice(_links(consumers)), draw.uniform(2.0, max(2.0, min(10.0, limit))), seconds, "both"


def _junk(draw: random.Random, _: Sequence[str], __: float) -> tuple[str, float, float, str]:
    return UPSTREAM, 0.0, float(draw.randint(5, 200)), "both"


_DRAWS: Final = {
    "kill": (_kill, 5),
    "lose": (_lose, 1),
    "wipe": (_wipe, 0),
    "term": (_term, 1),
    "stop": (_stop, 4),
    "cut": (_cut, 3),
    "half_open": (_half_open, 3),
    "hold": (_hold, 2),
    "throttle": (_throttle, 2),
    "delay": (_delay, 2),
    "junk": (_junk, 2),
}

KINDS: Final = tuple(_DRAWS)
"""``kill`` SIGKILL and restart; ``lose`` the same of Redis, with the newest writes gone, as when a machine dies before
its disk has them; ``wipe`` FLUSHALL (only where it is asked for: it ends every promise but the telling of it); ``term``
SIGTERM and restart; ``stop`` SIGSTOP; the rest is done to links and upstream."""

DEFAULT_KINDS: Final = tuple(kind for kind, (_, weight) in _DRAWS.items() if weight)


def settle_s(seconds: float) -> float:
    """The quiet time at the end of a run."""
    return min(MAX_SETTLE_S, SETTLE_SHARE * seconds)


def fault_window(seconds: float) -> tuple[float, float]:
    """From when to when faults may be at work, in seconds after the start."""
    return min(WARM_UP_S, seconds / 10), seconds - settle_s(seconds)


def schedule(
    seed: int, seconds: float, *, kinds: Iterable[str] = DEFAULT_KINDS, consumers: Sequence[str] = ()
) -> list[Step]:
    """Draw a schedule: ordered by time, no target hit again before it is whole, everything over before the quiet end.

    Raises:
        ValueError: an unknown kind, or a run too short for any fault.
    """
    chosen = sorted(set(kinds), key=KINDS.index) if set(kinds) <= set(KINDS) else None
    if not chosen:
        raise ValueError(f"faults must be some of {', '.join(KINDS)}")
    start, end = fault_window(seconds)
    if end - start < 2.0:
        raise ValueError("a run takes at least 5 seconds")
    draw = random.Random(f"{seed}:{seconds:g}:{','.join(chosen)}:{','.join(consumers)}")
    weights = [_DRAWS[kind][1] or 1 for kind in chosen]
    steps: list[Step] = []
    at = start
    while end - at > 1.0:
        kind = draw.choices(chosen, weights)[0]
        step = _step(draw, kind, at, end, consumers)
        if not any(_collide(step, other) for other in steps):
            steps.append(step)
        at += draw.uniform(*GAP_S)
    return steps


def _step(draw: random.Random, kind: str, at: float, end: float, consumers: Sequence[str]) -> Step:
    target, duration, value, direction = _DRAWS[kind][0](draw, consumers, max(end - at, 1.0))
    return Step(round(at, 3), kind, target, round(min(duration, end - at), 3), value, direction)


def _collide(one: Step, other: Step) -> bool:
    """Whether they would be at work on the same thing at the same time."""
    overlap = one.at_s < other.end_s + 0.2 and other.at_s < one.end_s + 0.2
    return overlap and not _parts(one).isdisjoint(_parts(other))


def _parts(step: Step) -> set[str]:
    """What a fault keeps busy. The active worker changes hands, so both names of a worker are one part."""
    if step.target in (ACTIVE, STANDBY):
        return {"worker"}
    if step.target.startswith("consumer:"):
        return {step.target}
    if step.target.endswith((":active", ":standby")):
        return {step.target.replace("standby", "active")}
    return {step.target}
