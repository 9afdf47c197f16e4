"""Spans against a plain set of milliseconds."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agentexchange.candles._spans import MAX_SPANS, Spans

times = st.integers(0, 60)
pairs = st.tuples(times, times)


@given(st.lists(pairs), st.none() | times, pairs, times)
def test_they_overlap_what_they_hold(
    added: list[tuple[int, int]], lasting: int | None, asked: tuple[int, int], cut: int
) -> None:
    spans = Spans(added)
    held = {ms for since, until in added for ms in range(since, until)}
    if lasting is not None:
        spans.begin(lasting)
        held |= set(range(lasting, 200))
    since, until = asked
    if since < until:
        assert spans.overlaps(since, until) is bool(held & set(range(since, until)))
        spans.forget(cut)
        if since >= cut:
            assert spans.overlaps(since, until) is bool(held & set(range(since, until)))
    ordered = spans.pairs()
    assert all(a[0] < a[1] < b[0] < b[1] for a, b in pairwise(ordered))


def test_a_lasting_span_ends() -> None:
    spans = Spans()
    spans.begin(10)
    spans.begin(20)
    assert spans.overlaps(10, 11)
    spans.end(2, 5)  # an earlier one: it lasts on
    assert (spans.lasts_since, spans.pairs()) == (10, [(2, 5)])
    spans.end(15, 30)
    assert (spans.lasts_since, spans.pairs()) == (None, [(2, 5), (10, 30)])


def test_too_many_grow_together_at_the_old_end() -> None:
    spans = Spans((4 * n, 4 * n + 1) for n in range(2 * MAX_SPANS))
    assert len(spans.pairs()) == MAX_SPANS
    assert spans.overlaps(2, 3)
    assert not spans.overlaps(8 * MAX_SPANS - 6, 8 * MAX_SPANS - 5)
