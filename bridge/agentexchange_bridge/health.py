"""Is the worker ready? Decided from its numbers alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from agentexchange_schemas import FeedState

from .lease import LeaseState
from .stats import RedisState

if TYPE_CHECKING:
    from .stats import ScopeStats, WorkerStats

__all__ = ["Readiness", "Role", "readiness"]


class Role(StrEnum):
    """What the worker does at the moment."""

    ACTIVE = "active"
    """It holds the lease of a scope, and writes."""
    STANDBY = "standby"
    """Others hold every lease; it waits to take over."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of ``/readyz``.

    Attributes:
        ready: whether the worker does what it is there for.
        role: what that is.
        reasons: why it is not ready; empty where it is.
    """

    ready: bool
    role: Role
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For the body of the page."""
        return {"ready": self.ready, "role": str(self.role), "reasons": list(self.reasons)}


def readiness(stats: WorkerStats) -> Readiness:
    """Judge a worker.

    An active worker is ready while upstream is live and Redis takes what it writes. One that stands by is ready too
    while it can reach Redis: it does what a standby is there for, and a container platform must not restart it.
    """
    active = any(scope.lease is not LeaseState.STANDBY for scope in stats.scopes.values())
    reasons = [reason for scope in stats.scopes.values() if (reason := _trouble(scope))]
    if not stats.scopes:
        reasons.append("starting")
    reasons += [
        f"upstream {upstream.name}: {upstream.state}"
        for upstream in stats.upstreams.values()
        if upstream.active and upstream.state is not FeedState.LIVE
    ]
    return Readiness(not reasons, Role.ACTIVE if active else Role.STANDBY, tuple(reasons))


def _trouble(scope: ScopeStats) -> str | None:
    if scope.redis is not RedisState.READY:
        return f"{scope.scope}: redis: {scope.redis}"
    if scope.lease is LeaseState.DOUBTFUL:
        return f"{scope.scope}: lease: {scope.lease.value}"
    return None
