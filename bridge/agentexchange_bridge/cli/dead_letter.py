"""``agentexchange dead-letter``: events that a group's handlers failed on, listed, tried once more or dropped."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._errors import CommandError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from agentexchange._group.dead import DeadLetter, DeadLetters

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Orders and portfolio belong to the account of the API key in AGENTEXCHANGE_API_KEY or --api-key-file; --scope m0 is for
market data. A letter that is retried goes to one member of its group, with all its attempts before it.

exit code: 0 done, 1 when a letter was not found or Redis refused, 2 for bad input

examples:
  agentexchange dead-letter list --redis-url redis://localhost:6379/0 --group executors
  agentexchange dead-letter retry --group executors 1763806931042-0
  agentexchange dead-letter drop --group executors --scope m0 --all"""

_is_letter_id = re.compile(r"[0-9]{1,20}-[0-9]{1,20}", re.ASCII).fullmatch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("action", choices=("list", "retry", "drop"), help="what to do")
    parser.add_argument("ids", nargs="*", metavar="ID", help="letters, by the ids that 'list' prints")
    parser.add_argument("--all", action="store_true", help="retry or drop: every letter")
    where = parser.add_argument_group("where")
    where.add_argument("--redis-url", metavar="URL", help="Redis (default: AGENTEXCHANGE_REDIS_URL)")
    where.add_argument("--group", required=True, metavar="NAME", help="the group's name")
    where.add_argument("--scope", metavar="SCOPE", help="m0, m1, … or a-…; default: the account of the API key")
    where.add_argument("--api-key-file", type=Path, metavar="FILE", help="file that holds the API key")
    parser.add_argument_group("output").add_argument("--json", action="store_true", help="one JSON object per letter")


def run(args: argparse.Namespace) -> int:
    """List, retry or drop.

    Raises:
        UsageError: no or wrong ids, URL, group, scope or key.
        CommandError: Redis does not answer or refuses, or a letter does not exist.
    """
    from agentexchange import AgentExchangeError

    _check_choice(args)
    with _open(args) as letters:
        try:
            return _list(letters, args) if args.action == "list" else _change(letters, args)
        except AgentExchangeError as exc:
            raise CommandError(f"dead-letter: {exc}") from None


def _check_choice(args: argparse.Namespace) -> None:
    if args.action != "list" and bool(args.ids) == args.all:
        raise UsageError(f"dead-letter: {args.action} needs ids, or --all instead")
    if args.action == "list" and args.all:
        raise UsageError("dead-letter: list shows every letter without --all, or those whose ids are given")
    for letter_id in args.ids:
        if not _is_letter_id(letter_id):
            raise UsageError(f"dead-letter: id {letter_id[:40]!r} is not one that 'list' prints")


def _open(args: argparse.Namespace) -> DeadLetters:
    from agentexchange._group.dead import DeadLetters
    from agentexchange._urls import redis_url

    url = args.redis_url or os.environ.get("AGENTEXCHANGE_REDIS_URL")
    if not url:
        raise UsageError("dead-letter: give --redis-url, or set AGENTEXCHANGE_REDIS_URL")
    try:
        return DeadLetters(redis_url(url), args.scope or _own_scope(args.api_key_file), args.group)
    except ValueError as exc:
        raise UsageError(f"dead-letter: {exc}") from None


def _own_scope(file: Path | None) -> str:
    from agentexchange_bridge.keys import KEY_VARIABLE, find_api_key
    from agentexchange_schemas import account_scope

    key = find_api_key(file)
    if key is None:
        raise UsageError(f"dead-letter: set {KEY_VARIABLE} or name a file with --api-key-file, or give --scope")
    return account_scope(key.get_secret_value())


def _list(letters: DeadLetters, args: argparse.Namespace) -> int:
    found = 0
    for letter in _chosen(letters, args):
        found += 1
        print(_json(letter) if args.json else _lines(letter))
    if not found and not args.json:
        print(f"no dead letters of {args.group}")
    return _missing(args, found)


def _change(letters: DeadLetters, args: argparse.Namespace) -> int:
    change = letters.retry if args.action == "retry" else letters.drop
    done = 0
    for letter in _chosen(letters, args):
        if change(letter):
            done += 1
            if args.json:
                print(_json(letter))
    if not args.json:
        verb = "handed to the group again" if args.action == "retry" else "dropped"
        print(f"{done} dead letter{'' if done == 1 else 's'} {verb}")
    return _missing(args, done)


def _chosen(letters: DeadLetters, args: argparse.Namespace) -> Iterable[DeadLetter]:
    ids = list(dict.fromkeys(args.ids))
    # a list first: letters that are changed while they are paged through must not be skipped or met twice
    return letters.find(ids) if ids else list(letters.all())


def _missing(args: argparse.Namespace, found: int) -> int:
    missing = len(set(args.ids)) - found
    if missing > 0:
        raise CommandError(f"dead-letter: {missing} of the ids {'is' if missing == 1 else 'are'} not there (any more)")
    return 0


def _json(letter: DeadLetter) -> str:
    known = {
        "id": letter.id,
        "time": _time(letter),
        "topic": letter.topic,
        "error": letter.error,
        "attempts": letter.attempts,
        "history": letter.history,
        "event_id": letter.event_id,
        "log": letter.log,
        "data": letter.data,
    }
    return json.dumps(known, ensure_ascii=False, separators=(",", ":"))


def _lines(letter: DeadLetter) -> str:
    data = json.dumps(letter.data, ensure_ascii=False)
    tries = f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}"
    return f"{letter.id}  {_time(letter)}  {letter.topic}  {tries}\n    {' '.join(letter.error.split())}\n    {data}"


def _time(letter: DeadLetter) -> str:
    milliseconds = int(letter.id.partition("-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
