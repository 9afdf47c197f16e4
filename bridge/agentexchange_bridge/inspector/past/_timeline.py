"""The time line: how much there was when. Exact where few events are held, else estimated; what was seen is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange_bridge.inspector.views import Bucket, TimeLine

from ._history import Sample, Stretch
from ._moment import MAIN_LOG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentexchange_bridge.inspector.board import Notices

    from ._history import History, LaneSpan

__all__ = ["TimeLines", "width_of"]

_S: Final = 1_000_000
_WIDTHS_US: Final = tuple(
    _S * seconds for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
)
_MAX_BUCKETS: Final = 1_000


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
        self._width_us = 0
        self._known: dict[tuple[int, int], Sample] = {}

    async def timeline(self, buckets: int) -> TimeLine:
        """As `Inspection.timeline`.

        Raises:
            ConnectionError: what is read from is away.
        """
        spans = _market(await self.history.spans())
        if not spans:
            end_us = self.history.end_us()
            return TimeLine(end_us, end_us, (), (), is_exact=True)
        start_us = min(span.first_us or 0 for span in spans)
        end_us = max(span.last_us or 0 for span in spans)
        width_us = width_of(end_us - start_us, max(1, min(buckets, _MAX_BUCKETS)))
        samples = await self._samples(spans, start_us, end_us, width_us)
        gaps = [gap for gap in self._notices.gaps() if gap.since_us <= end_us and (gap.until_us or end_us) >= start_us]
        return TimeLine(
            start_us,
            end_us,
            tuple(Bucket(at, sample.events_per_s) for at, sample in samples),
            tuple(gaps),
            is_exact=all(sample.is_exact for _, sample in samples),
        )

    async def _samples(
        self, spans: Sequence[LaneSpan], start_us: int, end_us: int, width_us: int
    ) -> list[tuple[int, Sample]]:
        if width_us != self._width_us:
            self._width_us, self._known = width_us, {}
        starts = range(start_us - start_us % width_us, end_us + 1, width_us)
        sums = {at: Sample(0.0, is_exact=True) for at in starts}
        for number, span in enumerate(spans):
            wanted = [at for at in starts if (number, at) not in self._known]
            stretches = [Stretch(max(start_us, at), min(end_us + 1, at + width_us)) for at in wanted]
            found = await self.history.rates(span.lane, stretches) if stretches else []
            self._known.update({(number, at): sample for at, sample in zip(wanted, found, strict=True)})
            for at in starts:
                one, total = self._known[number, at], sums[at]
                sums[at] = Sample(total.events_per_s + one.events_per_s, total.is_exact and one.is_exact)
        # the first bucket may lose events, the last ones gain some: they are looked at again
        settled = range(starts.start + width_us, starts[-1], width_us)
        self._known = {place: sample for place, sample in self._known.items() if place[1] in settled}
        return list(sums.items())


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
