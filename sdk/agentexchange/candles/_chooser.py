"""SourceChooser: which of two sources a topic's candles come from. One final candle per span, whatever the switch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from ._time import interval_ms, open_ms_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CandleSource", "ChooserStats", "SourceChooser"]

PATIENCE_MS: Final = 5_000
_NEVER: Final = -1
_MARKS: Final = (("complete", bool, True), ("trades", int, None), ("empty", bool, None))


class CandleSource(StrEnum):
    """Where candles come from."""

    AUTO = "auto"
    """Upstream's where it pushes them in time, built ones where it does not."""
    UPSTREAM = "upstream"
    """Upstream's only."""
    BUILD = "build"
    """Built from ticks only."""


@dataclass(slots=True)
class ChooserStats:
    """Plain counters; one object may be shared by many choosers.

    Attributes:
        from_upstream: final candles taken from upstream.
        from_ticks: final candles taken from the builder.
        upstream_after: upstream's candles that came when the span's candle was out already; not published.
        built_after: built ones for which the same holds.
        undated: upstream's final candles that do not say when they began, or name a time that is still to come; dropped
            unless upstream is the only source.
        switches: how often the preferred source changed.
    """

    from_upstream: int = 0
    from_ticks: int = 0
    upstream_after: int = 0
    built_after: int = 0
    undated: int = 0
    switches: int = 0


class SourceChooser:
    """Decides for one symbol and interval. Give it both sources' candles; publish what it returns, in that order.

    ``auto`` begins with building, so that nobody waits, and takes upstream's candle of a span where that comes first.
    One that comes within ``patience_ms`` after its span makes upstream the preferred source: then a built candle waits
    for upstream's until ``patience_ms`` after the span, goes out if that stays away, and building is preferred again.
    A built candle that is not complete waits in the same way until upstream has proved silent once. A refusal ends all
    waiting.

    Args:
        interval: one of the six.
        mode: who may be chosen.
        patience_ms: how long after a span's end upstream's candle is waited for; more than the builder's allowance.
        stats: counters to share.

    Raises:
        TopicError: not an interval.
    """

    def __init__(
        self,
        interval: str,
        mode: CandleSource = CandleSource.AUTO,
        *,
        patience_ms: int = PATIENCE_MS,
        stats: ChooserStats | None = None,
    ) -> None:
        self.mode = mode
        self.stats = stats or ChooserStats()
        self._length = interval_ms(interval)
        self._patience_ms = patience_ms
        self._published = _NEVER
        self._held: tuple[int, dict[str, Any]] | None = None
        self._prefers_upstream = mode is CandleSource.UPSTREAM
        self._is_refused = False
        self._is_silent = False

    @property
    def source(self) -> CandleSource:
        """The preferred source now: ``upstream`` or ``build``; it also gives the forming candles."""
        return CandleSource.UPSTREAM if self._prefers_upstream else CandleSource.BUILD

    @property
    def subscribes(self) -> bool:
        """Whether upstream's candles are to be subscribed."""
        return self.mode is not CandleSource.BUILD

    @property
    def builds(self) -> bool:
        """Whether candles are to be built."""
        return self.mode is not CandleSource.UPSTREAM

    @property
    def is_waiting(self) -> bool:
        """Whether a built candle is held back: then `due` is to be called."""
        return self._held is not None

    def resume(self, published_ms: int) -> None:
        """After a restart, or from a log: spans up to the one that began at ``published_ms`` are published already."""
        self._published = max(self._published, published_ms)

    def release(self) -> list[dict[str, Any]]:
        """Wait no longer: the candle that is held back, if there is one."""
        if self._held is None:
            return []
        start, fields = self._held
        self._held = None
        if self._is_out(start):
            self.stats.built_after += 1
            return []
        self._published = start
        self.stats.from_ticks += 1
        return [fields]

    # Upstream

    def refused(self) -> list[dict[str, Any]]:
        """Upstream refuses the topic: nothing is waited for any more."""
        self._is_refused = True
        if self.mode is not CandleSource.AUTO:
            return []
        self._prefer(upstream=False)
        return self.release()

    def accepted(self) -> None:
        """Upstream takes the topic."""
        self._is_refused = False

    def upstream(self, fields: dict[str, Any], now_us: int) -> list[dict[str, Any]]:
        """Upstream's candle, final or forming. Adds ``source``, ``complete``, ``trades`` and ``empty`` to ``fields``.

        A candle without ``is_closed`` is final.
        """
        start = open_ms_of(fields)
        if fields.get("is_closed") is False:
            return [_marked(fields)] if self._prefers_upstream and not self._is_out(start) else []
        now_ms = now_us // 1000
        if (
            start is None or start > now_ms + self._patience_ms
        ):  # taken at its word, it would end all candles until then
            return self._undated(fields)
        if self.mode is CandleSource.AUTO and now_ms <= start + self._length + self._patience_ms:
            self._prefer(upstream=True)
        if self._is_out(start) or self.mode is CandleSource.BUILD:
            self.stats.upstream_after += 1
            return []
        before = self.release() if self._held is not None and self._held[0] < start else []
        if self._held is not None and self._held[0] == start:
            self._held = None
            self.stats.built_after += 1
        self._published = start
        self.stats.from_upstream += 1
        return [*before, _marked(fields)]

    # Built

    def built(self, fields: dict[str, Any], now_us: int) -> list[dict[str, Any]]:
        """The builder's candle, final or forming."""
        start = open_ms_of(fields)
        if start is None or self.mode is CandleSource.UPSTREAM:
            return []
        if fields["is_closed"] is False:
            return [fields] if not self._prefers_upstream and not self._is_out(start) else []
        if self._is_out(start):
            self.stats.built_after += 1
            return []
        before = self.release()
        if self._is_out(start):
            return before
        self._held = (start, fields)
        return [*before, *([] if self._waits(fields) else self.release()), *self.due(now_us)]

    def due(self, now_us: int) -> list[dict[str, Any]]:
        """The candle whose wait for upstream is over: upstream is silent, building is preferred from here on."""
        if self._held is None or now_us // 1000 < self._held[0] + self._length + self._patience_ms:
            return []
        self._is_silent = True
        self._prefer(upstream=False)
        return self.release()

    def _waits(self, fields: Mapping[str, Any]) -> bool:
        if self.mode is CandleSource.BUILD or self._is_refused:
            return False
        return self._prefers_upstream or not (fields["complete"] or self._is_silent)

    def _undated(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """With one source there is nothing that it could double."""
        self.stats.undated += 1
        return [_marked(fields)] if self.mode is CandleSource.UPSTREAM else []

    def _is_out(self, start: int | None) -> bool:
        return start is not None and start <= self._published

    def _prefer(self, *, upstream: bool) -> None:
        if upstream:
            self._is_silent = self._is_refused = False
        if upstream != self._prefers_upstream:
            self._prefers_upstream = upstream
            self.stats.switches += 1


def _marked(fields: dict[str, Any]) -> dict[str, Any]:
    """What candles say beside the documented fields, as upstream says it where it does; trades are not known else."""
    fields["source"] = str(CandleSource.UPSTREAM)
    for name, kind, value in _MARKS:
        if type(fields.get(name)) is not kind:
            fields[name] = value
    return fields
