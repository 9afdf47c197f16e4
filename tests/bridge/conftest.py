"""Fixtures for tests of a scope's writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bridge._writers import Running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    tasks = Running()
    yield tasks
    await tasks.end()
