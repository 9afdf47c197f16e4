"""Fixtures for tests of shared clients."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from agentexchange_schemas import account_scope
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk._shared_client import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests._servers import RedisServer


@pytest.fixture
def writer(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    """Writes the market scope of `redis_server`, which is live."""
    with contextlib.closing(LayoutWriter(redis_server.url)) as writer:
        writer.install()
        writer.lease()
        yield writer


@pytest.fixture
def account(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    """Writes the account scope of `KEY`, which is live."""
    with contextlib.closing(LayoutWriter(redis_server.url, account_scope(KEY))) as writer:
        writer.lease()
        yield writer
