"""A recording played as the platform itself: a WebSocket server for clients in any language.

`RecordedExchange` serves a file; `docs/serving.md` has the whole story, and ``agentexchange replay`` the command.
"""

from __future__ import annotations

from ._control import RecordedControl
from ._exchange import RecordedExchange
from ._options import AtEnd
from ._stage import ServedProgress

__all__ = ["AtEnd", "RecordedControl", "RecordedExchange", "ServedProgress"]
