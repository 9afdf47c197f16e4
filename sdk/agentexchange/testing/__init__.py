"""Testing a crew without the platform: a sandbox exchange, its control object and a pytest plugin.

The names are imported on first use: the pytest plugin lives in this package and is loaded in every
pytest run of a user, who should not pay for a WebSocket server that the run does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentexchange.testing._control import SandboxControl
    from agentexchange.testing._observe import ConnectionInfo
    from agentexchange.testing._options import DEMO_KEY
    from agentexchange.testing._sandbox import SandboxExchange
    from agentexchange.testing._session import JournalEntry
    from agentexchange.testing._thread import SandboxThread

__all__ = [
    "DEMO_KEY",
    "ConnectionInfo",
    "JournalEntry",
    "SandboxControl",
    "SandboxExchange",
    "SandboxThread",
]

_HOMES = {
    "DEMO_KEY": "_options",
    "ConnectionInfo": "_observe",
    "JournalEntry": "_session",
    "SandboxControl": "_control",
    "SandboxExchange": "_sandbox",
    "SandboxThread": "_thread",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
