from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange.recording import Recording
from tests.sdk.recording._samples import CANDLES, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path


def test_the_span_of_each_lane_and_how_many_blocks_there_are(tmp_path: Path) -> None:
    content = [(MARKET, ticks(5)), (CANDLES, [tick(7)]), (MARKET, [tick(9)])]
    with Recording(write(tmp_path / "t.axlog", content)) as recording:
        assert recording.blocks == 3
        assert recording.lane_spans() == {
            MARKET: (START_US, START_US + 9000),
            CANDLES: (START_US + 7000, START_US + 7000),
        }
    with Recording(write(tmp_path / "empty.axlog", [])) as recording:
        assert (recording.blocks, recording.lane_spans()) == (0, {})
