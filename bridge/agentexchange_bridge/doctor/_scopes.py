"""What bridges have left in Redis: the layout, and who serves each scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange_schemas import FeedState
from agentexchange_schemas.layout import LAYOUT_VERSION, Layout

from ._result import Finding, fail, ok, warn
from ._server import as_texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.redis import RespStream

__all__ = ["check_scopes", "read_layout"]


async def read_layout(stream: RespStream, prefix: str) -> tuple[Layout, Finding]:
    """The layout that is stored under ``prefix``."""
    layout = Layout(prefix)
    stored = as_texts(await stream.command("HGETALL", layout.meta))
    if not stored:
        fix = "start one: agentexchange bridge; or give the right ?prefix= in the URL"
        return layout, warn("layout", f"no bridge has written under {prefix!r} yet", fix)
    found = f"version {stored.get('version', '?')[:20]}, partitions {stored.get('partitions', '?')[:20]}"
    if stored.get("version") != str(LAYOUT_VERSION) or not stored.get("partitions", "").isdecimal():
        return layout, fail("layout", found, f"this release reads version {LAYOUT_VERSION}: use matching releases")
    return Layout(prefix, int(stored["partitions"])), ok("layout", found)


async def check_scopes(stream: RespStream, layout: Layout, account: str | None) -> AsyncIterator[Finding]:
    """One line for each market scope, and for the account of the key that was given."""
    for scope in layout.market_scopes:
        yield await _scope(stream, layout, scope, f"market {scope}")
    if account is not None:
        yield await _scope(stream, layout, account, f"account {account[:10]}…")


async def _scope(stream: RespStream, layout: Layout, scope: str, check: str) -> Finding:
    holder = await stream.command("GET", layout.lease(scope))
    if holder is None:
        return warn(check, "no live bridge worker serves it", "start one: agentexchange bridge")
    status = as_texts(await stream.command("HGETALL", layout.status(scope)))
    state = status.get("state", "")
    found = f"{state or 'no state yet'}, held by {holder.decode(errors='replace')[:100]}"
    if state == FeedState.AUTH_FAILED:
        return fail(check, found, "the platform refuses the worker's API key: give it another")
    if state != FeedState.LIVE:
        return warn(check, found, status.get("message") or "wait, or look at the worker's log")
    return ok(check, found)
