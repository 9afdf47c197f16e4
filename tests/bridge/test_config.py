from __future__ import annotations

import re
from typing import Any

import pytest

from agentexchange._urls import api_key_secret, redis_url, upstream_url
from agentexchange_bridge.accounts import Account
from agentexchange_bridge.config import WorkerConfig, new_worker_id
from agentexchange_schemas import Topic

KEY = "ak_live_config_secret"


def account(name: str, key: str = KEY) -> Account:
    return Account(name, api_key_secret(key))


def config(**changes: Any) -> WorkerConfig:
    urls = {"upstream_url": upstream_url("ws://localhost:8000"), "redis_url": redis_url("redis://localhost")}
    return WorkerConfig(**{"accounts": (Account("default", api_key_secret(KEY)),)} | urls | changes)


def test_the_defaults_are_the_documented_ones() -> None:
    made = config()
    assert made.topics == (Topic.ticker("all"),)
    assert (made.account, made.prefix, made.partitions) == (True, "ax", 1)
    market, account = made.market_retention, made.account_retention
    assert (market.log_max_age_s, market.log_max_len) == (600.0, 1_000_000)
    assert (market.candle_log_max_age_s, market.candle_log_max_len) == (3 * 86_400.0, 500_000)
    assert (account.log_max_age_s, account.log_max_len) == (7 * 86_400.0, 100_000)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"worker_id": "a b"}, "worker_id"),
        ({"worker_id": "x" * 65}, "worker_id"),
        ({"lease_ttl_s": 2.0}, "lease_ttl_s"),
        ({"beat_s": 0.0}, "beat_s"),
        ({"topics": (Topic.orders(),)}, "account=True"),
        ({"topics": (), "account": False, "follow_interest": False}, "nothing to do"),
        ({"prefix": "A"}, "prefix"),
        ({"partitions": 0}, "partitions"),
        ({"accounts": ()}, "at least one API key"),
        ({"accounts": (account("a"), account("a", "ak_live_b"))}, "named twice"),
        ({"accounts": (account("a"), account("b"))}, "same key"),
        ({"accounts": (account("a b"),)}, "account name"),
    ],
)
def test_what_cannot_work_is_refused_in_words(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=re.escape(word)):
        config(**changes)


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(config())


def test_worker_ids_are_valid_and_differ() -> None:
    first, second = new_worker_id(), new_worker_id()
    assert first != second
    assert config(worker_id=first).worker_id == first
