"""``agentexchange interest``: which programs want which topics."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ._errors import CommandError, UsageError
from ._loop import run_stoppable, unless_stopped
from ._table import amount, duration, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    from agentexchange._urls import RedisUrl
    from agentexchange.redis import RespStream
    from agentexchange_bridge.interest import Found
    from agentexchange_schemas import Interest, Layout, Topic

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Lists every program that is fed by Redis and runs now: its account, the client_name= it was given (or its host and
process id), where it runs, for how long, when it was last heard, and its topics. A program that was killed is listed
for 15 seconds more. Accounts are shown by their first digits; --account takes these, too.

exit code: 0 done, 1 when Redis does not answer or refuses, 2 for bad input

examples:
  agentexchange interest --redis-url redis://localhost:6379/0
  agentexchange interest --topic ticker:BTCUSDT
  agentexchange interest --account a-9f86d081 --json"""

_HEAD: Final = ("ACCOUNT", "CLIENT", "HOST", "AGE", "RENEWED", "TOPICS")
_SHORT: Final = 10  # characters of an account
_SHOWN_TOPICS: Final = 8
_BATCH: Final = 100

_is_account = re.compile(r"a-[0-9a-f]{6,32}", re.ASCII).fullmatch
_FULL_ACCOUNT: Final = 34


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--redis-url", metavar="URL", help="Redis (default: AGENTEXCHANGE_REDIS_URL)")
    which = parser.add_argument_group("which programs")
    which.add_argument("--topic", metavar="TOPIC", help="those that get it, by ticker:all too")
    which.add_argument("--account", metavar="a-…", help="those of one account")
    parser.add_argument_group("output").add_argument("--json", action="store_true", help="one JSON object per program")


def run(args: argparse.Namespace) -> int:
    """List them.

    Raises:
        UsageError: a wrong URL, topic or account.
        CommandError: Redis does not answer or refuses, or no account begins so.
    """
    from agentexchange._urls import redis_url
    from agentexchange_schemas import Topic

    text = args.redis_url or os.environ.get("AGENTEXCHANGE_REDIS_URL")
    if not text:
        raise UsageError("interest: give --redis-url, or set AGENTEXCHANGE_REDIS_URL")
    if args.account is not None and not _is_account(args.account):
        raise UsageError(f"interest: account {args.account[:40]!r} is not 'a-' and 6 to 32 digits 0-9 a-f")
    try:
        url, topic = redis_url(text), None if args.topic is None else Topic.parse(args.topic)
    except ValueError as exc:
        raise UsageError(f"interest: {exc}") from None
    return run_stoppable(lambda stop: unless_stopped(stop, _list(url, topic, args)))


async def _list(url: RedisUrl, topic: Topic | None, args: argparse.Namespace) -> int:
    from agentexchange.redis import RedisLinkError, RespStream
    from agentexchange_schemas import Layout

    try:
        stream = await RespStream.connect(url, name="agentexchange-interest")
        try:
            everyone = [found async for found in _find(stream, Layout(url.prefix), args.account)]
        finally:
            stream.close()
    except RedisLinkError as exc:
        raise CommandError(f"interest: {exc}") from None
    faults = [found for found in everyone if found.fault is not None]
    for fault in faults:
        print(f"cannot be read: {fault.client.account} {fault.client.name}: {fault.fault}", file=sys.stderr)
    shown = [found for found in everyone if found.interest is not None and _gets(found.interest, topic)]
    shown.sort(key=lambda found: (found.client.account, *_name_of(found)))
    if args.json:
        _print_json(shown)
    elif shown:
        _print_table(shown)
    else:
        print("no program wants anything" if topic is None else f"no program wants {topic}")
    return 0


async def _find(stream: RespStream, layout: Layout, account: str | None) -> AsyncIterator[Found]:
    from agentexchange_bridge.interest import InterestLimits, find_clients, read_clients

    limits = InterestLimits()
    for scope in await _accounts(stream, layout, account, limits.accounts):
        clients = await find_clients(stream, layout, scope, limits.clients)
        for at in range(0, len(clients), _BATCH):
            for found in await read_clients(stream, layout, clients[at : at + _BATCH]):
                yield found


async def _accounts(stream: RespStream, layout: Layout, account: str | None, most: int) -> list[str]:
    from agentexchange_bridge.interest import find_accounts

    if account is not None and len(account) == _FULL_ACCOUNT:
        return [account]
    known = await find_accounts(stream, layout, most)
    if account is None:
        return known
    chosen = [scope for scope in known if scope.startswith(account)]
    if not chosen:
        raise CommandError(f"interest: no account that begins with {account} has had a program lately")
    return chosen


def _gets(interest: Interest, topic: Topic | None) -> bool:
    if topic is None or topic in interest.topics:
        return True
    return topic.kind == "ticker" and any(wanted.is_wildcard for wanted in interest.topics)


def _name_of(found: Found) -> tuple[str, int]:
    assert found.interest is not None  # noqa: S101 - only such are shown
    return found.interest.name, found.interest.since_us


def _print_json(shown: list[Found]) -> None:
    for found in shown:
        print(json.dumps(_values(found), separators=(",", ":")))


def _print_table(shown: list[Found]) -> None:
    rows = [_values(found) for found in shown]
    for line in table([_HEAD, *map(_cells, rows)]):
        print(line)
    topics = {topic for values in rows for topic in values["topics"]}
    print(f"\n{amount(len(rows), 'program')}, {amount(len(topics), 'topic')}")


def _values(found: Found) -> dict[str, Any]:
    from agentexchange_bridge.notices import from_us
    from agentexchange_schemas._text import iso_utc

    interest = found.interest
    assert interest is not None  # noqa: S101 - only such are shown
    return {
        "account": found.client.account,
        "client": found.client.name,
        "name": interest.name,
        "host": interest.host,
        "pid": interest.pid,
        "since": iso_utc(from_us(interest.since_us)),
        "age_s": round(max(0.0, time.time() - interest.since_us / 1e6), 1),
        "renewed_s": round(interest.ttl_ms / 1000 - found.left_s, 1),
        "topics": sorted(map(str, interest.topics)),
    }


def _cells(values: dict[str, Any]) -> tuple[str, ...]:
    topics = values["topics"]
    more = f" and {len(topics) - _SHOWN_TOPICS} more" if len(topics) > _SHOWN_TOPICS else ""
    return (
        values["account"][:_SHORT],
        values["name"],
        values["host"],
        duration(values["age_s"]),
        duration(values["renewed_s"]),
        (" ".join(topics[:_SHOWN_TOPICS]) + more) or "none",
    )
