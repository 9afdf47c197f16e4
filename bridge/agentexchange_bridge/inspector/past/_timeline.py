"""The time line: how much there was when. Exact where few events are held, else estimated; what was seen is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.views import Bucket, TimeLine

from ._history import Sample, Stretch
from ._moment import MAIN_LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange.recording import Lane
    from agentexchange_bridge.inspector.board import Notices
    from agentexchange_bridge.inspector.views import Window

    from ._history import History, LaneSpan

__all__ = ["TimeLines", "width_of"]

_S: Final = 1_000_000
_WIDTHS_US: Final = tuple(
    _S * seconds for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
)
_MAX_BUCKETS: Final = 1_000
_MOST_KNOWN: Final = 20_000

_Place = tuple[int, "Lane", int]  # width of a bucket, whose, where it begins


class TimeLines:
    """Makes time lines of a history.

    Its buckets begin at whole multiples of their width, so that a later time line only looks at what is new. It spans
    the logs of ticks, where there are any: candles and orders reach back for days.

    Args:
        history: what it looks at.
        notices: of that history, as far as they are known.
    """

    def __init__(self, history: History, notices: Notices) -> None:
        self.history = history
        self._notices = notices
        self._known: dict[_Place, Sample] = {}

    async def timeline(self, buckets: int, window: Window | None = None) -> TimeLine:
        """As `Inspection.timeline`.

        Raises:
            ConnectionError: what is read from is away.
        """
        spans = _market(await self.history.spans())
        if not spans:
            end_us = self.history.end_us()
            return TimeLine(end_us, end_us, (), (), is_exact=True, first_us=end_us, last_us=end_us)
        first_us = min(span.first_us or 0 for span in spans)
        last_us = max(span.last_us or 0 for span in spans)
        start_us, end_us = (first_us, last_us) if window is None else window.ends(first_us, last_us)
        width_us = width_of(end_us - start_us, max(1, min(buckets, _MAX_BUCKETS)))
        starts = range(start_us - start_us % width_us, end_us + 1, width_us)
        samples = await self._samples(spans, starts, Stretch(first_us, last_us + 1))
        gaps = [gap for gap in self._notices.gaps() if gap.since_us <= end_us and (gap.until_us or end_us) >= start_us]
        return TimeLine(
            start_us,
            end_us,
            tuple(Bucket(at, sample.events_per_s) for at, sample in samples),
            tuple(gaps),
            is_exact=all(sample.is_exact for _, sample in samples),
            first_us=first_us,
            last_us=last_us,
        )

    async def _samples(self, spans: Sequence[LaneSpan], starts: range, held: Stretch) -> list[tuple[int, Sample]]:
        width_us = starts.step
        sums = {at: Sample(0.0, is_exact=True) for at in starts}
        # the first bucket of all may lose events, the last one gain some: they are looked at each time
        settled = {at for at in starts if held.start_us <= at and at + width_us < held.end_us}
        for span in spans:
            wanted = [at for at in starts if at not in settled or (width_us, span.lane, at) not in self._known]
            stretches = [_stretch(at, width_us, held) for at in wanted]
            found = await self.history.rates(span.lane, stretches) if stretches else []
            fresh = dict(zip(wanted, found, strict=True))
            for at in starts:
                one = fresh[at] if at in fresh else self._known[width_us, span.lane, at]
                sums[at] = Sample(sums[at].events_per_s + one.events_per_s, sums[at].is_exact and one.is_exact)
            self._keep({(width_us, span.lane, at): sample for at, sample in fresh.items() if at in settled})
        return list(sums.items())

    def _keep(self, samples: dict[_Place, Sample]) -> None:
        if len(self._known) + len(samples) > _MOST_KNOWN:
            self._known.clear()
        self._known |= samples


def _stretch(at: int, width_us: int, held: Stretch) -> Stretch:
    """What a bucket's rate is taken of: as long as it is, also at the ends, where a few µs would tell of no rate."""
    end_us = min(held.end_us, max(at, held.start_us) + width_us)
    return Stretch(max(held.start_us, end_us - width_us), end_us)


def width_of(span_us: int, buckets: int) -> int:
    """The least round width by which that span has no more than so many buckets, the first and last cut."""
    for width_us in _WIDTHS_US:
        if span_us // width_us + 2 <= buckets:
            return width_us
    return -(-span_us // max(1, buckets - 1))


def _market(spans: Sequence[LaneSpan]) -> list[LaneSpan]:
    filled = [span for span in spans if span.last_us is not None]
    ticks = [span for span in filled if span.lane.log == MAIN_LOG and not span.lane.scope.startswith("a-")]
    return ticks or filled
