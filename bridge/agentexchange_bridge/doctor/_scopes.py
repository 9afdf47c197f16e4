"""What bridges have left in Redis: the layout, who serves each scope, how fresh it is, and their clocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agentexchange._shared.read import offset_of
from agentexchange_schemas import FeedState, ScopeStates
from agentexchange_schemas.layout import LAYOUT_VERSION, Layout

from ._result import Finding, fail, ok, warn
from ._server import as_texts, judge_clock, server_ahead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agentexchange.redis import RespStream

__all__ = ["check_scopes", "read_layout"]

_NAMED: Final = 5


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
    names = {scope: f"market {scope}" for scope in layout.market_scopes}
    if account is not None:
        names[account] = f"account {account[:10]}…"
    for scope, check in names.items():
        holder = await stream.command("GET", layout.lease(scope))
        if holder is None:
            yield warn(check, "no live bridge worker serves it", "start one: agentexchange bridge")
            continue
        status = as_texts(await stream.command("HGETALL", layout.status(scope)))
        yield _scope(check, holder.decode(errors="replace")[:100], status)
        offset_us = offset_of(status.get("clock_offset_us"))
        if offset_us is not None:
            ahead_s, doubt_s = await server_ahead(stream)
            yield judge_clock(f"clock of {check}", "its bridge", ahead_s - offset_us / 1_000_000, doubt_s)


def _scope(check: str, holder: str, status: Mapping[str, str]) -> Finding:
    state = status.get("state", "")
    found = f"{state or 'no state yet'}, held by {holder}"
    if state == FeedState.AUTH_FAILED:
        return fail(check, found, "the platform refuses the worker's API key: give it another")
    if state != FeedState.LIVE:
        return warn(check, found, status.get("message") or "wait, or look at the worker's log")
    topics = ScopeStates.from_fields(None, status).topics
    if topics:
        named = ", ".join(f"{topic} {state.state}" for topic, state in list(topics.items())[:_NAMED])
        more = f" and {len(topics) - _NAMED} more" if len(topics) > _NAMED else ""
        return warn(check, f"{found}; {named}{more}", f"why: the field topic_states of the status hash ({check})")
    return ok(check, found)
