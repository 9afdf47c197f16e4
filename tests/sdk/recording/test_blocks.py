"""Reading here and there: a recording's blocks, which are known before they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentexchange.recording import Lane, Recording, RecordingError
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path


def test_the_blocks_of_a_lane_come_in_its_order_with_what_they_hold(tmp_path: Path) -> None:
    eths = [tick(number, symbol="ETHUSDT") for number in range(10, 12)]
    path = write(tmp_path / "a.axlog", [(MARKET, ticks(3)), (ACCOUNT, ticks(1)), (MARKET, eths)])
    with Recording(path) as recording:
        first, second = recording.blocks_of(MARKET)
        assert (first.events, first.first_us, first.last_us) == (3, START_US, START_US + 2000)
        assert recording.read(first) == ticks(3)
        assert recording.read(second) == eths
        assert [recording.holds(block, "ticker:ETHUSDT") for block in (first, second)] == [False, True]
        assert not recording.holds(first, "ticker:NEVER")
        assert [block.events for block in recording.blocks_of(ACCOUNT)] == [1]
        assert recording.blocks_of(CANDLES) == []
        assert recording.blocks_of(Lane("m9", "log")) == []


def test_a_damaged_block_names_file_and_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.axlog", [(MARKET, ticks(50))])
    with Recording(path) as recording:
        (block,) = recording.blocks_of(MARKET)
        raw = bytearray(path.read_bytes())
        raw[block.offset + block.size - 3] ^= 0xFF
        path.write_bytes(raw)
        with pytest.raises(RecordingError) as caught:
            recording.read(block)
    assert (caught.value.path, caught.value.offset) == (str(path), block.offset)
