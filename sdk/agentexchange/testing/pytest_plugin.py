"""The pytest plugin: fixtures with a fresh sandbox exchange for each test.

``sandbox_exchange`` is for async tests and needs pytest-asyncio (either of its modes); ``sandbox_thread``
is for plain ones. Options go into a marker::

    @pytest.mark.sandbox_exchange(rate=0, dialect="page")
    async def test_my_crew(sandbox_exchange): ...

pytest loads this module in every run: nothing heavy is imported before a fixture is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

try:
    import pytest_asyncio
except ImportError:  # an optional companion: without it only the async fixture is missing
    pytest_asyncio = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agentexchange.testing._sandbox import SandboxExchange
    from agentexchange.testing._thread import SandboxThread

__all__ = ["pytest_configure", "sandbox_exchange", "sandbox_thread"]

_MARKER = "sandbox_exchange"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(**options): options of SandboxExchange for the fixtures sandbox_exchange and sandbox_thread",
    )


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of all markers around the test; the nearest one wins."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers(_MARKER):
        if marker.args:
            raise pytest.UsageError(f"{_MARKER} takes keyword arguments only, not {marker.args!r}")
        options = {**marker.kwargs, **options}
    return options


if pytest_asyncio is not None:

    @pytest_asyncio.fixture
    async def sandbox_exchange(request: pytest.FixtureRequest) -> AsyncIterator[SandboxExchange]:
        """A running ``SandboxExchange`` on a free port."""
        from agentexchange.testing._sandbox import SandboxExchange  # noqa: PLC0415  # only when used

        async with SandboxExchange(**_options(request)) as exchange:
            yield exchange

else:

    @pytest.fixture
    def sandbox_exchange() -> None:
        """Say what is missing."""
        pytest.fail(
            "the fixture sandbox_exchange needs pytest-asyncio: install it, or use the fixture sandbox_thread",
            pytrace=False,
        )


@pytest.fixture
def sandbox_thread(request: pytest.FixtureRequest) -> Iterator[SandboxThread]:
    """A running ``SandboxThread`` on a free port, for tests without an event loop."""
    from agentexchange.testing._thread import SandboxThread  # noqa: PLC0415  # only when used

    with SandboxThread(**_options(request)) as exchange:
        yield exchange
