"""The exchanges that are equally strict: tests of the protocol run once against each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentexchange.serving import RecordedExchange
from agentexchange.testing import SandboxExchange
from tests.sdk.recording._samples import MARKET, START_US, tick, write
from tests.sdk.testing._bare import KEY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agentexchange.testing._server import LocalExchange

_OF_THE_MARKET = {"rate", "pairs"}
_HOUR_US = 3_600_000_000


@pytest.fixture(params=["sandbox", "recording"])
async def exchange(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalExchange]:
    """A sandbox, and a served recording with the same options that is silent for an hour and knows the same key."""
    options = {}
    for marker in request.node.iter_markers("sandbox_exchange"):
        options = {**marker.kwargs, **options}
    made: LocalExchange
    if request.param == "sandbox":
        made = SandboxExchange(**options)
    else:
        day = write(tmp_path / "day.axlog", [(MARKET, [tick(0), tick(1, received_us=START_US + _HOUR_US)])])
        own = {name: value for name, value in options.items() if name not in _OF_THE_MARKET}
        made = RecordedExchange(day, start=f"{START_US // 1000 + 1}-0", api_keys=[KEY], only_known_keys=True, **own)
    async with made:
        yield made
