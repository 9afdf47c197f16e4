"""``agentexchange acl``: rules for Redis's users."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ._commands import require
from ._errors import UsageError

if TYPE_CHECKING:
    import argparse

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Prints one line for an ACL file (aclfile) of Redis 7 or Valkey, with PASSWORD where the user's password goes; for
ACL SETUSER write that in place of its first word. A crew reads market data and its own accounts, and writes nothing but
its own interest, groups and positions. Nobody may SCAN.

examples:
  agentexchange acl --role bridge
  agentexchange acl --role operator --user alice
  agentexchange acl --role crew --account a-0123456789abcdef0123456789abcdef
  agentexchange acl --role crew --api-key-file /run/secrets/agentexchange --market-position recorder
  agentexchange acl --role crew | sed 's/^user/ACL SETUSER/; s/PASSWORD/<one>/' | redis-cli"""

_is_account = re.compile(r"a-[0-9a-f]{32}", re.ASCII).fullmatch
_is_user = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII).fullmatch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument("--role", required=True, choices=("bridge", "crew", "operator"), help="whom the rule is for")
    parser.add_argument("--user", metavar="NAME", help="the user's name in Redis (default: the role)")
    parser.add_argument("--prefix", default="ax", metavar="NAME", help="prefix of all names in Redis (default: ax)")
    crew = parser.add_argument_group("a crew's")
    crew.add_argument(
        "--account", action="append", metavar="NAME", default=[],
        help="a-<32 hex digits>, or the name of an account of --config; repeatable "
        "(default: the account of AGENTEXCHANGE_API_KEY)",
    )  # fmt: skip
    crew.add_argument(
        "--config", type=Path, metavar="FILE", help="the bridge's settings, with its accounts (or AGENTEXCHANGE_CONFIG)"
    )
    crew.add_argument("--api-key-file", type=Path, metavar="FILE", help="file with the API key of the account")
    crew.add_argument(
        "--market-position", action="append", metavar="NAME", default=[],
        help="resume=NAME may cover market data as well; repeatable",
    )  # fmt: skip
    crew.add_argument(
        "--market-group", action="append", metavar="NAME", default=[],
        help="group=NAME may cover market data as well; repeatable. Who may acknowledge there may do so for others",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print the rule.

    Raises:
        UsageError: a wrong name, or a crew without an account.
    """
    from agentexchange_schemas import LayoutError

    user = args.user or args.role
    if not _is_user(user):
        raise UsageError(f"acl: user {user[:40]!r} is not valid: use letters, digits, '.', '_', '@' and '-'")
    _check_crew_only(args)
    try:
        print(f"user {user} {_rule(args)}")
    except LayoutError as exc:
        raise UsageError(f"acl: {exc}") from None
    return 0


def _check_crew_only(args: argparse.Namespace) -> None:
    given = args.account or args.api_key_file or args.market_group or args.market_position
    if given and args.role != "crew":
        raise UsageError(f"acl: accounts, groups and positions are for --role crew, not {args.role}")


def _rule(args: argparse.Namespace) -> str:
    from agentexchange_bridge.acl import bridge_rule, crew_rule, operator_rule

    match args.role:
        case "bridge":
            return bridge_rule(args.prefix)
        case "operator":
            return operator_rule(args.prefix)
    return crew_rule(args.prefix, _accounts(args), groups=args.market_group, positions=args.market_position)


def _accounts(args: argparse.Namespace) -> list[str]:
    from agentexchange_bridge.keys import KEY_VARIABLE, find_api_key
    from agentexchange_schemas import account_scope

    accounts = _named(args.account, args.config)
    if accounts and args.api_key_file is None:
        return accounts
    try:
        key = find_api_key(args.api_key_file)
    except ValueError as exc:
        raise UsageError(f"acl: {exc}") from None
    if key is None:
        raise UsageError(f"acl: give --account or --api-key-file, or set {KEY_VARIABLE}")
    return [*accounts, account_scope(key.get_secret_value())]


def _named(names: list[str], config: Path | None) -> list[str]:
    """Scopes, and the scopes of the accounts with these names."""
    known: dict[str, str] | None = None
    scopes = []
    for name in names:
        if _is_account(name):
            scopes.append(name)
            continue
        known = _configured(config) if known is None else known
        if name not in known:  # what it is may be a key: it is not repeated
            valid = ", ".join(known) or "none, without --config"
            raise UsageError(f"acl: --account is a- and 32 hex digits, or a configured account's name ({valid})")
        scopes.append(known[name])
    return scopes


def _configured(config: Path | None) -> dict[str, str]:
    """Scope by name of each account of the bridge's settings."""
    file = config or os.environ.get("AGENTEXCHANGE_CONFIG")
    if file is None:
        return {}
    require(("pydantic_settings",), extra="bridge", purpose="an account's name")
    from agentexchange_bridge.settings import SettingsError, load_settings

    try:
        return {account.name: account.scope for account in load_settings({}, config=Path(file)).accounts}
    except SettingsError as exc:
        raise UsageError(f"acl: {exc}") from None
