"""docs/security.md shows the attacks that are run, the limits that hold, and names what exists."""

from __future__ import annotations

from pathlib import Path

from agentexchange.upstream import FeedOptions
from agentexchange.upstream._connect import _MAX_UNSENT_BYTES
from agentexchange_bridge.pipeline import MAX_TOPICS
from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES, MAX_NESTING
from agentexchange_schemas.frames import MAX_KEPT_FRAME_BYTES
from agentexchange_schemas.interest import MAX_INTEREST_TOPICS
from agentexchange_schemas.upstream import MAX_FRAME_BYTES

from ._page import tables

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def test_the_tables_of_attacks_are_those_of_the_tests() -> None:
    assert PAGE.partition("prints these tables.\n\n")[2].strip() == tables().strip()


def test_the_limits_are_those_that_hold() -> None:
    for row in (
        f"| a frame from the platform | {MAX_FRAME_BYTES // 2**20} MiB |",
        f"| fields that the platform adds | nested {MAX_NESTING} deep |",
        f"| topics that a worker takes | {MAX_TOPICS:,} |",
        f"| answers to pings that the platform leaves unread | {_MAX_UNSENT_BYTES // 2**20} MiB |",
        f"| opening a session | {FeedOptions().open_timeout_s:g} s,",
        f"| a frame that is [kept](operations.md#frames) | {MAX_KEPT_FRAME_BYTES // 2**10} KiB,",
        f"| an envelope in Redis | {MAX_ENVELOPE_BYTES // 2**10} KiB;",
        f"| a message that a subscriber gets | {4 * MAX_ENVELOPE_BYTES // 2**20} MiB |",
        f"up to {MAX_INTEREST_TOPICS:,} a client",
    ):
        assert row in PAGE
