"""Options of the client that a shared feed takes on."""

from __future__ import annotations

import pytest

from agentexchange import AgentExchangeWS


def test_the_recovery_bound_reaches_the_shared_feed() -> None:
    client = AgentExchangeWS("ak_live_options", "redis://localhost", recover_limit=7)
    assert client._transports._shared.keywords["options"].recover_limit == 7  # type: ignore[union-attr]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_recovery_bound_is_above_zero(limit: int) -> None:
    with pytest.raises(ValueError, match="recover_limit"):
        AgentExchangeWS("ak_live_options", "redis://localhost", recover_limit=limit)


def test_the_bounds_on_sessions_reach_the_pool() -> None:
    client = AgentExchangeWS("ak_live_options", max_sessions=3, ticker_all_from=None)
    assert (client._transports._pool.max_sessions, client._transports._pool.fold_from) == (3, None)
    client = AgentExchangeWS("ak_live_options", ticker_all_from=40)
    assert (client._transports._pool.max_sessions, client._transports._pool.fold_from) == (10, 40)


@pytest.mark.parametrize("option", ["max_sessions", "ticker_all_from"])
def test_the_bounds_on_sessions_are_above_zero(option: str) -> None:
    with pytest.raises(ValueError, match=option):
        AgentExchangeWS("ak_live_options", **{option: 0})
