"""The overview: how the feed is, who carries it, who listens, and what the logs hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nicegui import ui

from agentexchange_schemas import FeedState

from .format import NONE, Look, age, clock, count, day_clock, look_of, milliseconds, rate, short_scope, size
from .grid import Grid, column
from .parts import Tile, block

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentexchange_bridge.inspector.views import ClientRow, LogRow, Overview, ScopeRow, WorkerRow

    from .grid import Row
    from .viewer import Viewer

__all__ = ["OverviewPanel", "scope_row"]

_TOPICS_SHOWN = 6


class OverviewPanel:
    """The whole installation at the moment shown."""

    PERIOD_S: ClassVar[float] = 1.0

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        with ui.element("div").classes("ax-tiles"):
            self._rate, self._lag = Tile("Events per second"), Tile("Lag, median")
            self._memory, self._logs = Tile("Redis memory"), Tile("Events in the logs")
            self._workers, self._clients = Tile("Workers"), Tile("Programs listening")
        with block("Feed"):
            self._scopes = _scopes()
        with ui.element("div").classes("ax-pair"):
            with block("Workers") as workers:
                self._worker_grid = _workers()
            with block("Logs"):
                self._log_grid = _logs()
        with block("Who listens to what") as clients:
            self._client_grid = _clients()
        self._only_live = (workers, clients)

    async def refresh(self, *, anew: bool) -> None:  # noqa: ARG002 - the rows are compared anyway
        """Show the installation as it is at the moment."""
        feed = self._viewer.feed
        if feed is None:
            return
        seen = feed.overview()
        self._tiles(seen)
        for part in self._only_live:
            part.set_visibility(self._viewer.travel is None)
        self._scopes.show(scope_row(row, seen.at_us) for row in seen.scopes)
        self._worker_grid.show(worker_row(row, seen.at_us) for row in seen.workers)
        self._log_grid.show(log_row(row) for row in seen.logs)
        self._client_grid.show(client_row(row) for row in seen.clients)

    def _tiles(self, seen: Overview) -> None:
        self._rate.show(
            rate(sum(row.events_per_s for row in seen.scopes)),
            f"in {len(seen.scopes)} scope{'' if len(seen.scopes) == 1 else 's'}",
        )
        lags = [row.lag_ms for row in seen.scopes if row.lag_ms is not None]
        worst = max(lags, key=lambda lag: lag[1], default=None)
        self._logs.show(count(sum(row.entries for row in seen.logs)), _oldest(seen.logs))
        if self._viewer.travel is not None:
            for tile in (self._lag, self._memory, self._workers, self._clients):
                tile.show(NONE, "known only live")
            return
        self._lag.show(*((NONE, "no events yet") if worst is None else (milliseconds(worst[0]), _tail(worst))))
        limit = "no limit set" if seen.memory_limit_bytes is None else f"of {size(seen.memory_limit_bytes)}"
        self._memory.show(size(seen.memory_bytes), limit)
        active = sum(1 for row in seen.workers if row.scopes)
        self._workers.show(str(len(seen.workers)), f"{active} active, {len(seen.workers) - active} standing by")
        topics = {topic for row in seen.clients for topic in row.topics}
        self._clients.show(str(len(seen.clients)), f"{len(topics)} topics wanted")


def _tail(lag: tuple[float, float, float]) -> str:
    return f"95 %: {milliseconds(lag[1])}, 99 %: {milliseconds(lag[2])}"


def _oldest(logs: Iterable[LogRow]) -> str:
    firsts = [row.first_us for row in logs if row.first_us is not None]
    return f"since {day_clock(min(firsts))[:-4]}" if firsts else "empty"


def feed_look(scopes: Sequence[ScopeRow]) -> Look:
    """The whole feed in three words: what every panel shows above it."""
    if not scopes:
        return Look("No feed yet", "idle")
    others = [row for row in scopes if row.state is not FeedState.LIVE]
    if not others:
        return Look("Feed live", "good")
    looks = [look_of(row.state) for row in others]
    tone = min((look.tone for look in looks), key=("bad", "warn", "idle").index)
    if len(others) == 1:
        return Look(f"{short_scope(others[0].scope)}: {looks[0].word}", tone)
    return Look(f"{len(others)} of {len(scopes)} scopes not live", tone)


def scope_row(row: ScopeRow, at_us: int) -> Row:
    """One line of the feed's table."""
    look = look_of(row.state)
    last_s = None if row.last_event_us is None else (at_us - row.last_event_us) / 1e6
    return {
        "id": row.scope,
        "scope": short_scope(row.scope),
        "state": look.word,
        "tone": look.tone,
        "since": clock(row.since_us)[:-4] if row.since_us else NONE,
        "worker": row.worker or NONE,
        "epoch": NONE if row.epoch is None else str(row.epoch),
        "topics": str(row.topics),
        "rate": rate(row.events_per_s),
        "last": age(last_s),
        "p50": milliseconds(row.lag_ms[0]) if row.lag_ms else NONE,
        "p99": milliseconds(row.lag_ms[2]) if row.lag_ms else NONE,
        "message": row.message or "",
    }


def _scopes() -> Grid:
    return Grid(
        [
            column("scope", "Scope", width=112, kind="code"),
            column("state", "State", width=126, kind="state"),
            column("rate", "Events/s", width=96, kind="number"),
            column("last", "Last", width=78, kind="number"),
            column("p50", "Lag 50 %", width=96, kind="number", wide_only=True),
            column("p99", "Lag 99 %", width=96, kind="number", wide_only=True),
            column("topics", "Topics", width=84, kind="number", wide_only=True),
            column("epoch", "Epoch", width=144, kind="number", wide_only=True),
            column("worker", "Worker", wide_only=True, kind="code"),
            column("since", "Since", width=92, kind="number", wide_only=True),
            column("message", "Says", flex=2, wide_only=True),
        ],
        label="State of each scope",
        empty="No bridge has written here yet. Start one: agentexchange bridge --redis-url …",
    )


def worker_row(row: WorkerRow, at_us: int) -> Row:
    """One line of the workers' table."""
    return {
        "id": row.name,
        "name": row.name,
        "state": "Active" if row.scopes else "Stands by",
        "tone": "good" if row.scopes else "idle",
        "scopes": ", ".join(short_scope(scope) for scope in row.scopes) or NONE,
        "lease": f"{max(0.0, (row.expires_us - at_us) / 1e6):.0f} s",
    }


def _workers() -> Grid:
    return Grid(
        [
            column("name", "Worker", kind="code"),
            column("state", "State", width=120, kind="state"),
            column("scopes", "Scopes", wide_only=True),
            column("lease", "Lease", width=78, kind="number"),
        ],
        label="Bridge workers",
        empty="No worker is alive at this moment.",
    )


def log_row(row: LogRow) -> Row:
    """One line of the logs' table."""
    return {
        "id": row.key,
        "key": row.key,
        "entries": count(row.entries),
        "memory": size(row.memory_bytes),
        "reach": _reach(row),
    }


def _reach(row: LogRow) -> str:
    if row.first_us is None or row.last_us is None:
        return NONE
    return f"{day_clock(row.first_us)[:-4]} – {clock(row.last_us)[:-4]}"


def _logs() -> Grid:
    return Grid(
        [
            column("key", "Log", kind="code"),
            column("entries", "Entries", width=104, kind="number"),
            column("memory", "Memory", width=92, kind="number"),
            column("reach", "Reaches", flex=2, kind="code", wide_only=True),
        ],
        label="Logs",
        empty="There are no logs yet.",
    )


def client_row(row: ClientRow) -> Row:
    """One line of the listeners' table."""
    more = len(row.topics) - _TOPICS_SHOWN
    shown = ", ".join(row.topics[:_TOPICS_SHOWN])
    return {
        "id": f"{row.account} {row.client}",
        "name": row.name or row.client,
        "host": row.host,
        "account": short_scope(row.account),
        "topics": f"{shown} and {more} more" if more > 0 else shown,
    }


def _clients() -> Grid:
    return Grid(
        [
            column("name", "Program", kind="code"),
            column("host", "Host", wide_only=True, kind="code"),
            column("account", "Account", width=124, kind="code", wide_only=True),
            column("topics", "Topics", flex=3),
        ],
        label="Programs that listen, and their topics",
        empty="No program is listening. Those that connect with a redis:// URL appear here.",
    )
