"""Options of the client that a shared feed takes on."""

from __future__ import annotations

import pytest

from agentexchange import AgentExchangeWS


def test_the_recovery_bound_reaches_the_shared_feed() -> None:
    client = AgentExchangeWS("ak_live_options", "redis://localhost", recover_limit=7)
    assert client._shared().keywords["options"].recover_limit == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_recovery_bound_is_above_zero(limit: int) -> None:
    with pytest.raises(ValueError, match="recover_limit"):
        AgentExchangeWS("ak_live_options", "redis://localhost", recover_limit=limit)
