"""Clients as their hashes and messages, without any SDK."""

from __future__ import annotations

from agentexchange_bridge.interest import Client, Found
from agentexchange_schemas import Interest, InterestChange, Topic

ACCOUNT = "a-" + "0" * 32


def account(number: int) -> str:
    return f"a-{number:032x}"


def topics(*texts: str) -> frozenset[Topic]:
    return frozenset(map(Topic.parse, texts))


def interest(*texts: str, version: int = 1, ttl_s: float = 15.0, name: str = "crew") -> Interest:
    return Interest(name, "host", 1, topics(*texts), 1_795_341_318_742_000, round(ttl_s * 1000), version)


def message(client: Client, version: int) -> bytes:
    return InterestChange(*client, version).encode()


def found(client: Client, *texts: str, version: int = 1, left_s: float = 15.0) -> Found:
    return Found(client, interest(*texts, version=version), left_s)
