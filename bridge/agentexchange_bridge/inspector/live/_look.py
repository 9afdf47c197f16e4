"""What an installation says of itself: asked for in one round trip, read from the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from agentexchange._shared.commands import ScopeLook
from agentexchange._shared.read import pairs, us_of
from agentexchange.freshness import time_us
from agentexchange.redis import ReplyError
from agentexchange_bridge.inspector.past import span_of, span_questions
from agentexchange_bridge.inspector.views import WorkerRow
from agentexchange_schemas import FeedState, ScopeStates, TopicState
from agentexchange_schemas.layout import LOG_ID_FIELD, count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.past import LaneSpan
    from agentexchange_schemas import Layout

__all__ = ["Look", "LookedAtScope", "Question"]

Command = tuple[str | bytes | int, ...]
_OF_A_SCOPE: Final = 3  # answers
_OF_A_LOG: Final = 3
_WRONG_TYPE: Final = "WRONGTYPE"  # whoever has put something else there, it is no status
_MAX_S: Final = 253_402_300_799.0  # the end of the year 9999; a score may be infinite
_SAMPLES: Final = 5  # nodes of a stream that are measured for its memory


@dataclass(frozen=True, slots=True)
class LookedAtScope:
    """One scope as its lease and its status tell it."""

    state: FeedState
    since_us: int | None
    message: str | None
    worker: str | None
    epoch: int | None
    topics: tuple[str, ...]
    log_id: bytes | None
    clock_offset_us: int | None
    states: ScopeStates


@dataclass(frozen=True, slots=True)
class Look:
    """What was found; what the server refuses to tell is None or empty."""

    server_us: int | None = None
    scopes: Mapping[str, LookedAtScope] = field(default_factory=dict)
    workers: tuple[WorkerRow, ...] = ()
    spans: Mapping[Lane, LaneSpan] = field(default_factory=dict)
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None


class Question:
    """Makes the commands of a look and reads their answers.

    Args:
        layout: the names.
        keys: the log's key of each lane.
        scopes: those that are shown.
    """

    def __init__(self, layout: Layout, keys: Mapping[Lane, str], scopes: tuple[str, ...]) -> None:
        self._layout = layout
        self._keys = keys
        self._scopes = scopes
        self.commands: list[Command] = [
            ("TIME",),
            ("INFO", "memory"),
            ("ZRANGE", layout.workers, 0, -1, "WITHSCORES"),
            *(command for scope in scopes for command in self._of_scope(scope)),
            *(question for key in keys.values() for question in span_questions(key)),
        ]
        self.sizes: list[Command] = [("MEMORY", "USAGE", key, "SAMPLES", _SAMPLES) for key in keys.values()]

    def read(self, answers: list[Any], sizes: list[Any]) -> Look:
        """What the answers to `commands`, and the last ones to `sizes`, say.

        Raises:
            ReplyError: the server does not let this user look at a scope's lease or status.
        """
        server_us = time_us(answers[0])
        memory = _memory(answers[1])
        at = 3
        scopes = {}
        for scope in self._scopes:
            scopes[scope] = _scope(scope, answers[at : at + _OF_A_SCOPE])
            at += _OF_A_SCOPE
        measured = sizes or [None] * len(self._keys)
        told = [answers[place : place + _OF_A_LOG] for place in range(at, len(answers), _OF_A_LOG)]
        spans = list(map(span_of, self._keys, told, measured))
        workers = tuple(_workers(answers[2], server_us, scopes))
        used, limit = memory.get("used_memory"), memory.get("maxmemory")
        return Look(server_us, scopes, workers, {span.lane: span for span in spans}, used, limit or None)

    def _of_scope(self, scope: str) -> tuple[Command, ...]:
        layout = self._layout
        return (
            ("MGET", layout.lease(scope), layout.epoch(scope)),
            ("HGETALL", layout.status(scope)),
            ("HGET", layout.seq(scope), LOG_ID_FIELD),
        )


def _scope(scope: str, answers: list[Any]) -> LookedAtScope:
    for answer in answers:
        if isinstance(answer, ReplyError) and answer.code != _WRONG_TYPE:
            raise answer
    epochs, status, log_id = (None if isinstance(answer, ReplyError) else answer for answer in answers)
    fields = pairs(status or [])
    epochs = epochs or [None, None]
    look = ScopeLook.of(scope, epochs, fields, log_id)
    report, lease = look.report, epochs[0]
    own = TopicState(FeedState.NO_BRIDGE) if report is None else TopicState.of(report)
    states = ScopeStates.from_fields(own, fields if report is not None else {})
    return LookedAtScope(
        state=own.state,
        since_us=None if own.since is None else us_of(own.since),
        message=own.message or own.cause,
        worker=lease.rpartition(b"/")[0].decode(errors="replace") if isinstance(lease, bytes) else None,
        epoch=look.epoch or None,
        topics=tuple(fields.get("topics", "").split()) if report is not None else (),
        log_id=log_id,
        clock_offset_us=look.clock_offset_us,
        states=states,
    )


def _workers(answer: Any, server_us: int | None, scopes: Mapping[str, LookedAtScope]) -> Iterator[WorkerRow]:
    if not isinstance(answer, list):
        return
    owned: dict[str, list[str]] = {}
    for scope, look in scopes.items():
        if look.worker is not None:
            owned.setdefault(look.worker, []).append(scope)
    for member, score in sorted(zip(answer[::2], answer[1::2], strict=True)):
        name = member.decode(errors="replace")
        expires_us = round(min(max(float(score), 0.0), _MAX_S) * 1_000_000)
        if server_us is None or expires_us > server_us:
            yield WorkerRow(name, expires_us, tuple(owned.get(name, ())))


def _memory(answer: Any) -> dict[str, int]:
    if not isinstance(answer, bytes):
        return {}
    lines = (line.partition(":") for line in answer.decode(errors="replace").splitlines())
    return {name: count_of(value) for name, _, value in lines if value.isdecimal()}
