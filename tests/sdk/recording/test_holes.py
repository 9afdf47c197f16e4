from __future__ import annotations

from agentexchange.recording import Hole, LogWatch, notice_of, sentence_of, sentences_of
from agentexchange_schemas import Cause, FeedStatus
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES, decode, encode

AT_US = 1_795_341_318_000_000


def event(topic: str, seq: int | None, at: int) -> bytes:
    return encode(topic, 1, seq, None, AT_US + at, {"price": "1"})


def everything(topic: str) -> bool:
    return True


def test_seqs_without_a_hole_tell_nothing() -> None:
    watch = LogWatch(everything)
    raws = [event("ticker:A", 5, 0), event("ticker:B", 9, 1), event("ticker:A", 6, 2), event("status", None, 3)]
    assert watch.take(raws) == (raws, [])
    assert watch.take([event("ticker:B", 10, 4)])[1] == []


def test_a_jump_tells_topic_span_and_count() -> None:
    watch = LogWatch(everything)
    watch.take([event("ticker:A", 5, 0)])
    _, (hole,) = watch.take([event("ticker:A", 9, 7)])
    assert hole == Hole("ticker:A", Cause.TRIMMED, AT_US, AT_US + 7, 6, 8)
    assert hole.missing == 3


def test_a_seq_that_counts_anew_is_another_log() -> None:
    watch = LogWatch(everything)
    watch.take([event("ticker:A", 5, 0)])
    _, (hole,) = watch.take([event("ticker:A", 1, 7)])
    assert (hole.cause, hole.missing) == (Cause.LOG_REPLACED, None)
    assert watch.take([event("ticker:A", 2, 8)])[1] == []


def test_what_is_not_wanted_is_left_out_and_its_holes_with_it() -> None:
    watch = LogWatch(lambda topic: topic == "ticker:A")
    kept, holes = watch.take([event("ticker:B", 1, 0), event("ticker:A", 1, 1), event("ticker:B", 9, 2)])
    assert (kept, holes) == ([event("ticker:A", 1, 1)], [])


def test_junk_and_what_goes_back_in_time_is_counted_and_left_out() -> None:
    watch = LogWatch(everything)
    big = event("ticker:A", 3, 9) + bytes(MAX_ENVELOPE_BYTES)
    kept, _ = watch.take([event("ticker:A", 1, 5), b"junk", event("ticker:A", 2, 4), big, event("ticker:A", 2, 6)])
    assert kept == [event("ticker:A", 1, 5), event("ticker:A", 2, 6)]
    assert watch.junk == 3


def test_trimmed_tails_of_quiet_topics_are_told_once() -> None:
    watch = LogWatch(everything)
    watch.take([event("ticker:A", 5, 0), event("ticker:B", 5, 1)])
    (hole,) = watch.trimmed_tails({"ticker:A": 8, "ticker:B": 5, "ticker:C": 4}, AT_US + 50)
    assert (hole.topic, hole.first, hole.last) == ("ticker:A", 6, 8)
    assert watch.trimmed_tails({"ticker:A": 8}, AT_US + 60) == []
    assert watch.take([event("ticker:A", 9, 70)])[1] == []


def test_it_knows_of_which_topics_what_is_missing_can_be_counted() -> None:
    watch = LogWatch(lambda topic: topic != "ticker:B")
    watch.take([event("ticker:A", 5, 0), event("ticker:B", 5, 1), event("ticker:C", None, 2)])
    assert [watch.has_seen(topic) for topic in ("ticker:A", "ticker:B", "ticker:C")] == [True, False, False]


def test_a_hole_as_a_notice_has_all_that_is_known_and_no_number_of_its_own() -> None:
    hole = Hole("ticker:A", Cause.TRIMMED, AT_US, AT_US + 7, 6, 8)
    envelope = decode(notice_of("m0", hole, at_us=AT_US + 7, message="gone"))
    assert (envelope.topic, envelope.epoch, envelope.seq, envelope.received_us) == ("status", 0, None, AT_US + 7)
    status = FeedStatus.from_fields(envelope.data)
    assert (status.scope, status.topic, status.cause, status.message) == ("m0", "ticker:A", "trimmed", "gone")
    assert (status.first_missing, status.last_missing, status.count) == (6, 8, 3)
    assert status.until is not None
    assert (status.until - status.since).microseconds == 7
    assert not status.tells_state


def test_each_kind_of_hole_has_its_sentence() -> None:
    assert "3 events (6 to 8) were trimmed" in sentence_of("m0", Hole("ticker:A", Cause.TRIMMED, 0, 1, 6, 8))
    assert "3 events (6 to 8) were forgotten by the server" in sentence_of(
        "m0", Hole("ticker:A", Cause.LOG_ROLLED_BACK, 0, 1, 6, 8)
    )
    assert "no longer holds everything after 1970" in sentence_of("m0", Hole(None, Cause.TRIMMED, 0, 1))
    assert "was replaced by another" in sentence_of("m0", Hole(None, Cause.LOG_REPLACED, 0, 1))


def test_hundreds_of_holes_at_once_are_few_sentences() -> None:
    holes = [Hole(f"ticker:T{number}", Cause.LOG_REPLACED, 0, 1) for number in range(600)]
    told = sentences_of("m0", holes)
    assert len(told) == 4
    assert told[-1] == "m0: 597 more gaps like these"
    assert len(sentences_of("m0", holes[:3])) == 3
