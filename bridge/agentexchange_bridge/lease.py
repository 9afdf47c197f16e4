"""Who may write a scope: the owner's own view of its lease, and the calls that ask Redis. Redis's word is the truth."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from agentexchange_schemas import Cause
from agentexchange_schemas.layout import BATCH_FIELD, LOG_ID_FIELD, RECEIVED_FIELD, count_of

from .scripts import ACQUIRE, BEAT, RELEASE

if TYPE_CHECKING:
    from agentexchange_schemas import Layout

__all__ = [
    "Free",
    "Grant",
    "Lease",
    "LeaseState",
    "Refused",
    "acquire_call",
    "beat_call",
    "read_acquired",
    "release_call",
]

_REFUSED: Final = 0
_FREE: Final = 2
_MAX_US: Final = 999  # the second part of an entry id that `log_id` makes


class LeaseState(Enum):
    """What a worker may believe about a scope."""

    STANDBY = "standby"
    """Not the owner: it holds nothing of the scope."""
    HELD = "held"
    """The owner."""
    DOUBTFUL = "doubtful"
    """It was the owner and could not renew for a whole time to live: it writes nothing until it has asked again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Another worker holds the lease."""

    holder: str
    left_ms: int


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody holds the lease, and this worker only looked.

    Attributes:
        is_new: the server knows of no owner ever.
        is_released: the last owner gave the lease back.
    """

    is_new: bool
    is_released: bool


@dataclass(frozen=True, slots=True)
class Grant:
    """What an owner starts from.

    Attributes:
        epoch: the fencing number to write under.
        stored_epoch: the newest one before; 0 where the server has none (new or wiped).
        log_floor_us: no entry of the scope's logs has an ``r`` above this.
        log_ids: last entry ids of the log and of the candle log.
        log_name: the random name of the seq hash (``#id``).
        batch: the last batch applied, or "".
        received_us: ``r`` of the last event applied, or 0.
        seqs: last seq per topic.
        status: the status hash as the last owner left it.
    """

    epoch: int
    stored_epoch: int
    log_floor_us: int
    log_ids: tuple[str, str]
    log_name: str
    batch: str
    received_us: int
    seqs: dict[str, int]
    status: dict[str, str]


class Lease:
    """The owner's view: a state machine without I/O, on a monotonic clock in seconds.

    A renewal counts from when it was **asked for**: the server cannot have given more than that.
    """

    def __init__(self, worker: str, ttl_s: float) -> None:
        self.worker = worker
        self.ttl_s = ttl_s
        self.epoch = 0
        self._state = LeaseState.STANDBY
        self._asked_at = 0.0

    def state(self, now: float) -> LeaseState:
        """The state at ``now``; a process that was stopped finds itself in doubt, not in possession."""
        if self._state is LeaseState.HELD and now - self._asked_at >= self.ttl_s:
            self._state = LeaseState.DOUBTFUL
        return self._state

    @property
    def owner(self) -> str:
        """What the lease key holds while this worker owns the scope under its epoch."""
        return f"{self.worker}/{self.epoch}"

    def age_us(self, other: Refused) -> int:
        """How long ago another worker renewed its lease, going by this one's time to live, µs."""
        return max(0, _ms(self.ttl_s) - max(0, other.left_ms)) * 1000

    def granted(self, epoch: int, asked_at: float) -> None:
        """Redis named this worker the owner."""
        self.epoch = epoch
        self._state = LeaseState.HELD
        self._asked_at = asked_at

    def renewed(self, asked_at: float) -> None:
        """Redis renewed the lease."""
        self._asked_at = asked_at

    def doubted(self) -> None:
        """Redis said that the lease is not this worker's now, or the connection is gone: ask again before writing."""
        if self._state is LeaseState.HELD:
            self._state = LeaseState.DOUBTFUL

    def lost(self) -> None:
        """Another worker holds it, or it was given back. The epoch is kept: it tells whether anybody wrote since."""
        self._state = LeaseState.STANDBY


def acquire_call(layout: Layout, scope: str, lease: Lease, *, take: bool, written_us: int) -> bytes:
    """The packed command that keeps the lease, or takes it if it is free and ``take``; for `read_acquired`.

    A server whose last ``r`` is below ``written_us``, what this worker knows to be written, gives a new epoch.
    """
    keys = (
        layout.lease(scope),
        layout.epoch(scope),
        layout.seq(scope),
        layout.log(scope),
        layout.candle_log(scope),
        layout.status(scope),
    )
    return ACQUIRE.call(
        keys, (lease.worker, lease.epoch, _ms(lease.ttl_s), secrets.token_hex(8), int(take), written_us)
    )


def beat_call(
    layout: Layout,
    scope: str,
    lease: Lease,
    *,
    publish: str,
    heartbeat: bytes,
    status: dict[str, str],
    candle_state: bytes | None = None,
) -> bytes:
    """The packed command that renews the lease, stores the status and tells it; with ``candle_state`` saves that."""
    pairs = [part for pair in status.items() for part in pair]
    keys = (layout.lease(scope), layout.status(scope), *_state_keys(layout, scope, candle_state))
    return BEAT.call(keys, (lease.owner, _ms(lease.ttl_s), publish, heartbeat, candle_state or "", *pairs))


def release_call(layout: Layout, scope: str, lease: Lease, *, candle_state: bytes | None = None) -> bytes:
    """The packed command that gives the lease back; with ``candle_state`` saves that."""
    keys = (layout.lease(scope), *_state_keys(layout, scope, candle_state))
    return RELEASE.call(keys, (lease.owner, candle_state or ""))


def _state_keys(layout: Layout, scope: str, state: bytes | None) -> tuple[str, ...]:
    return () if state is None else (layout.candle_state(scope),)


def read_acquired(reply: Any) -> Grant | Refused | Free:
    """Read the answer of ``acquire.lua``."""
    if reply[0] == _REFUSED:
        return Refused(reply[1].decode(), reply[2])
    if reply[0] == _FREE:
        return Free(is_new=reply[1] == 0, is_released=reply[2] == Cause.SHUTDOWN.encode())
    seq, status = _fields(reply[5]), _fields(reply[6])
    log_ids = (reply[3].decode(), reply[4].decode())
    return Grant(
        epoch=reply[1],
        stored_epoch=reply[2],
        log_floor_us=max(_floor_us(entry_id) for entry_id in log_ids),
        log_ids=log_ids,
        log_name=seq.get(LOG_ID_FIELD, ""),
        batch=seq.get(BATCH_FIELD, ""),
        received_us=count_of(seq.get(RECEIVED_FIELD)),
        seqs={name: count_of(value) for name, value in seq.items() if not name.startswith("#")},
        status=status,
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _fields(flat: list[bytes]) -> dict[str, str]:
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _floor_us(entry_id: str) -> int:
    """The ``r`` that gives this id or the last one below it; a foreign entry may have more than 999 behind the dash."""
    ms, _, rest = entry_id.partition("-")
    return int(ms) * 1000 + min(int(rest), _MAX_US)
