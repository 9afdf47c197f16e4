from __future__ import annotations

import pytest

from agentexchange_schemas.envelope import log_id
from tests.chaos._stories import ACCOUNT, TICK, Story, at
from tests.chaos.checker import check
from tests.chaos.history import MARKET


@pytest.fixture
def story() -> Story:
    story = Story()
    story.flow(TICK)
    story.flow("orders", start=0.05)
    return story


def kinds(story: Story) -> dict[str, int]:
    return check(story.history()).totals()


def test_a_faultless_run_is_clean(story: Story) -> None:
    findings = check(story.history())
    assert findings.is_clean
    assert findings.figures["sent"] == 20
    assert findings.figures["entries"] == 20
    assert [row.calls for row in findings.rows] == [10, 10]


def test_an_entry_whose_id_is_not_its_r(story: Story) -> None:
    story.rewrite(TICK, 3, entry_id=log_id(at(0.3)))
    assert "misplaced" in kinds(story)


def test_entries_whose_r_does_not_grow(story: Story) -> None:
    entry = story.entry(TICK, 4)
    story.rewrite(TICK, 5, entry_id=entry.entry_id, r_us=entry.r_us)
    assert kinds(story)["misplaced"] == 1


def test_an_event_written_under_an_old_epoch(story: Story) -> None:
    for n in range(4, 8):
        story.rewrite(TICK, n, epoch=8)
    assert kinds(story)["epoch_fell"] == 1


def test_a_growing_epoch_is_a_takeover_not_a_fault(story: Story) -> None:
    story.epoch = 9
    story.flow(TICK, start=2)
    assert kinds(story) == {}


@pytest.mark.parametrize("seq", [3, 5, 40, 1])
def test_a_seq_that_does_not_count_on(story: Story, seq: int) -> None:
    story.rewrite(TICK, 4, seq=seq)
    assert kinds(story)["seq_hole"] >= 1


def test_a_log_that_does_not_begin_at_one(story: Story) -> None:
    story.logs[MARKET].entries = [entry for entry in story.logs[MARKET].entries if entry.n != 1]
    assert kinds(story)["seq_hole"] == 1


def test_a_trimmed_log_may_begin_later() -> None:
    story = Story()
    story.flow(TICK)
    log = story.logs[MARKET]
    log.entries, log.is_whole = log.entries[1:], False
    assert "seq_hole" not in kinds(story)


def test_an_entry_without_a_seq(story: Story) -> None:
    story.rewrite(TICK, 10, seq=None)
    assert kinds(story)["seq_hole"] == 1


def test_an_event_written_twice(story: Story) -> None:
    story.write(TICK, 2, n=9)
    assert kinds(story)["written_twice"] == 1


def test_an_event_written_late(story: Story) -> None:
    entry = story.entry("orders", 4)
    story.logs[ACCOUNT].entries[3] = entry._replace(n=10)
    story.logs[ACCOUNT].entries[9] = story.entry("orders", 9)._replace(
        entry_id=story.logs[ACCOUNT].entries[9].entry_id, n=4
    )
    assert kinds(story)["written_out_of_order"] == 6  # 5 to 9 come after 10, and so does 4


def test_a_seq_hash_that_disagrees(story: Story) -> None:
    story.logs[MARKET].seqs[TICK] = 11
    assert kinds(story) == {"key_differs": 1}


def test_a_latest_key_that_disagrees(story: Story) -> None:
    story.logs[MARKET].latest[TICK] = story.entry(TICK, 9).entry_id
    assert kinds(story) == {"key_differs": 1}
