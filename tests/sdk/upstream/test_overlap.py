"""Two sessions' ticks of one symbol joined: against the stream that both are cut from."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentexchange.upstream._overlap import Overlap, _overlaps

Tick = dict[str, Any]


def ticks(text: str) -> list[Tick]:
    return [{"price": letter} for letter in text]


def text(found: list[Tick]) -> str:
    return "".join(tick["price"] for tick in found)


class Case(NamedTuple):
    """``stream`` as upstream has it; the new session brings it from ``begin``, the old one up to ``end``."""

    stream: str
    begin: int
    end: int
    script: list[bool]  # whose tick is read next: the new session's, where it has one


@st.composite
def cases(draw: st.DrawFn) -> Case:
    stream = draw(st.text(draw(st.sampled_from(["a", "ab", "abc", "abcdefghijklmnop"])), max_size=14))
    begin = draw(st.integers(0, len(stream)))
    return Case(stream, begin, draw(st.integers(begin, len(stream))), draw(st.lists(st.booleans(), max_size=30)))


def play(case: Case, *, cut: int | None = None) -> tuple[str, Overlap]:
    """Both sessions are read in the order of the script; the old one is left, or is lost after ``cut`` ticks."""
    overlap, out = Overlap(100), ""
    old, new = ticks(case.stream[: case.end if cut is None else cut]), ticks(case.stream[case.begin :])
    has_left = False

    def take_new() -> str:
        # the platform hands this out before it reads that the old session is to be left, or after
        nonlocal has_left
        if not has_left and len(case.stream) - len(new) >= case.end:
            overlap.leaving()
            has_left = True
        return text(overlap.new(new.pop(0)))

    for is_new in case.script:
        if is_new and new:
            out += take_new()
        elif not is_new and old:
            overlap.old(old[0])
            out += text([old.pop(0)])
    if not has_left:
        overlap.leaving()
    for tick in old:
        overlap.old(tick)
        out += text([tick])
    out += text(overlap.old_ended(lost=cut is not None))
    while new:
        out += text([new.pop(0)]) if overlap.is_done else text(overlap.new(new.pop(0)))
    return out, overlap


@settings(max_examples=1500, deadline=None)
@given(cases())
def test_each_tick_goes_out_once_and_in_order_unless_it_is_told(case: Case) -> None:
    out, overlap = play(case)
    if not overlap.is_done:
        # the new session still repeats: nothing of its own has come yet, but what may be a repeat
        assert case.stream.startswith(out)
        return
    assert overlap.is_joined
    missing = len(case.stream) - len(out)
    assert 0 <= missing <= overlap.ambiguous
    if not overlap.ambiguous:
        assert out == case.stream


@settings(max_examples=1500, deadline=None)
@given(cases(), st.data())
def test_an_old_session_that_breaks_off_doubles_nothing(case: Case, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, case.end))
    out, overlap = play(case, cut=cut)
    delivered = case.stream[:cut] + case.stream[max(case.begin, cut) :]
    assert len(out) <= len(delivered)
    if overlap.is_done and not overlap.ambiguous:
        assert out == delivered
    if cut < case.begin and overlap.is_done and not overlap.ambiguous:
        assert not overlap.is_joined or not case.stream[case.begin :], "the hole is told"


@settings(max_examples=500)
@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_the_search_finds_what_trying_all_lengths_finds(old: str, new: str) -> None:
    def agrees(k: int) -> bool:
        end = old[len(old) - k :]
        both = min(len(end), len(new))
        return end[:both] == new[:both]

    assert _overlaps(ticks(old), ticks(new)) == [k for k in range(len(old), -1, -1) if agrees(k)]


def joined(old: str, new: str, *, before_leaving: int = 0, later: str = "", lost: bool = False) -> tuple[str, Overlap]:
    overlap, out = Overlap(100), ""
    for tick in ticks(old):
        overlap.old(tick)
    for number, tick in enumerate(ticks(new)):
        if number == before_leaving:
            overlap.leaving()
        out += text(overlap.new(tick))
    if len(new) <= before_leaving:
        overlap.leaving()
    out += text(overlap.old_ended(lost=lost))
    for tick in ticks(later):
        out += text(overlap.new(tick))
    return out, overlap


def test_what_both_brought_goes_out_once() -> None:
    out, overlap = joined("abcd", "cdef", before_leaving=1)
    assert out == "ef"
    assert (overlap.is_done, overlap.ambiguous, overlap.repeats) == (True, 0, 2)


def test_a_new_session_that_lags_behind_repeats_what_is_out_one_by_one() -> None:
    out, overlap = joined("abcd", "b", before_leaving=1)
    assert (out, overlap.is_done) == ("", False)
    out, overlap = joined("abcd", "b", before_leaving=1, later="cde")
    assert (out, overlap.is_done, overlap.ambiguous) == ("e", True, 0)


def test_a_repeat_that_does_not_come_was_none() -> None:
    """Of a a the new session may have the second only; when b follows instead of another a, it has."""
    out, overlap = joined("xaa", "a", before_leaving=1, later="b")
    assert (out, overlap.is_done, overlap.ambiguous) == ("b", True, 0)


def test_nothing_from_the_new_session_yet_leaves_everything_open() -> None:
    out, overlap = joined("ab", "")
    assert (out, overlap.is_done) == ("", False)
    out, overlap = joined("ab", "", later="c")
    assert (out, overlap.is_done, overlap.ambiguous) == ("c", True, 0)


def test_equal_ticks_of_which_nobody_knows_are_taken_for_repeats_and_counted() -> None:
    out, overlap = joined("aaa", "aaab", before_leaving=1)
    assert out == "b"
    assert overlap.ambiguous == 2, "one to three of them may be repeats"


def test_what_the_new_session_brought_before_the_old_one_was_left_narrows_it() -> None:
    out, overlap = joined("aaa", "aaab", before_leaving=3)
    assert (out, overlap.ambiguous) == ("b", 0)


def test_ticks_that_two_sessions_word_differently_are_counted_off() -> None:
    out, overlap = joined("abc", "BCDE", before_leaving=2)
    assert out == "DE"
    assert overlap.ambiguous == 2


def test_a_broken_off_end_that_is_found_is_no_hole() -> None:
    out, overlap = joined("abc", "bcd", lost=True)
    assert (out, overlap.is_joined) == ("d", True)
    assert overlap.ambiguous == 2, "the new one's b and c may be other ticks, after a hole"


def test_a_broken_off_end_that_is_not_found_is_a_hole() -> None:
    out, overlap = joined("abc", "ef", lost=True)
    assert (out, overlap.is_joined) == ("ef", False)
    out, overlap = joined("abc", "", lost=True)
    assert not overlap.is_joined


def test_after_a_cut_the_new_session_brings_nothing_that_follows() -> None:
    overlap = Overlap(100)
    for tick in ticks("abcd"):
        overlap.old(tick)
    for tick in ticks("ab"):
        overlap.new(tick)
    overlap.leaving()
    overlap.cut()
    assert overlap.new({"price": "d"}) == []
    assert text(overlap.old_ended()) == ""
    assert overlap.is_done


def test_memory_is_bounded() -> None:
    overlap = Overlap(10)
    for number in range(100):
        overlap.old({"price": str(number)})
    for number in range(95, 105):
        assert not overlap.is_full
        overlap.new({"price": str(number)})
    assert overlap.is_full
    assert [tick["price"] for tick in overlap.old_ended(lost=True)] == ["100", "101", "102", "103", "104"]


@pytest.mark.timeout(10)
def test_equal_ticks_cost_linear_time() -> None:
    overlap = Overlap(20_000)
    for _ in range(20_000):
        overlap.old({"price": "1"})
        overlap.new({"price": "1"})
    overlap.old_ended()
    assert overlap.is_done


def test_what_the_taker_does_to_a_tick_changes_nothing() -> None:
    overlap = Overlap(10)
    tick = {"price": "1"}
    overlap.old(tick)
    tick["price"] = "changed"
    overlap.new({"price": "1"})
    overlap.leaving()
    assert overlap.old_ended() == []
