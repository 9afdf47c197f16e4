"""What the owner of a scope says once a second: the status hash, and the heartbeat on its channel. Pure, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentexchange_schemas import envelope
from agentexchange_schemas.envelope import STATUS_TOPIC

if TYPE_CHECKING:
    from .lease import Lease
    from .outbox import Outbox

__all__ = ["Heartbeat"]

_NO_ID: Final = "0-0"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One moment of a scope.

    Attributes:
        outbox: what was written, and the state.
        lease: whose it is.
        topics: texts of the topics served.
        now_us: the moment, µs since the Unix epoch.
        heard_us: up to when upstream was heard: what it sent later is not known to have come.
        clock_ahead_us: how far Redis's clock is ahead of this machine's, which gave all these times; None: not known.
    """

    outbox: Outbox
    lease: Lease
    topics: tuple[str, ...]
    now_us: int
    heard_us: int
    clock_ahead_us: int | None = None

    def status(self) -> dict[str, str]:
        """Fields of the status hash."""
        log_id, candle_log_id = self.outbox.log_ids
        return self.outbox.narrator.fields() | {
            "last_event": str(self.outbox.last_event_us),
            "settled": str(min(self.outbox.settled_us(), self.heard_us)),
            "worker": self.lease.worker,
            "epoch": str(self.lease.epoch),
            "topics": " ".join(self.topics),
            "beat": str(self.now_us),
            "log_id": log_id,
            "candle_log_id": candle_log_id,
            "clock_offset_us": "" if self.clock_ahead_us is None else str(self.clock_ahead_us),
        }

    def heartbeat(self) -> bytes:
        """The envelope: its ``r`` is the moment and no place in the log, and it has no seq."""
        state = self.outbox.narrator.own()
        log_id, candle_log_id = self.outbox.log_ids
        data = {
            "kind": "heartbeat",
            "state": state["state"],
            "since": state["since"],
            "log_id": log_id,
            "candle_log_id": None if candle_log_id == _NO_ID else candle_log_id,
            "worker": self.lease.worker,
            "topics": len(self.topics),
            "clock_offset_us": self.clock_ahead_us,
        }
        return envelope.encode(STATUS_TOPIC, self.lease.epoch, None, None, self.now_us, data, self.now_us)
