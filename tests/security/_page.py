"""The tables of docs/security.md, made of what the tests do."""

from __future__ import annotations

from ._attack import table
from ._publisher import BEFORE_A_WORKER, FORGERIES, MALFORMED, OLD_NUMBER, WRITES
from ._upstream import HANDSHAKES, SESSIONS

__all__ = ["tables"]


def tables() -> str:
    """As Markdown, with a heading each."""
    parts = {
        "A hostile platform, in a session": SESSIONS,
        "A hostile platform, while a session is opened": HANDSHAKES,
        "A hostile publisher: what is no envelope": MALFORMED,
        "A hostile publisher: what looks like one": [*FORGERIES, OLD_NUMBER],
        "Keys written over, as a client meets them": WRITES,
        "Keys written over, as a worker meets them": BEFORE_A_WORKER,
    }
    return "\n".join(f"### {title}\n\n{table(attacks)}" for title, attacks in parts.items())
