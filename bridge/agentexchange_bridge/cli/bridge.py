"""``agentexchange bridge``: the worker."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from ._errors import CommandError, UsageError
from ._loop import run_stoppable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

    from agentexchange_bridge.settings import BridgeSettings

__all__ = ["EPILOG", "add_arguments", "run"]

EPILOG: Final = """\
Every option is also a variable (AGENTEXCHANGE_REDIS_URL for --redis-url) and a key of the --config file
(redis_url). A flag beats the variable, the variable beats the file. SIGTERM and SIGINT write what is held,
give the leases back and exit with 0. SIGHUP reads the accounts again, without a pause for those that stay.
Exit code 1: failed; 2: bad input.

examples:
  agentexchange bridge --upstream-url wss://exchange.example --redis-url redis://localhost:6379/0
  agentexchange bridge --topic ticker:BTCUSDT --topic candles:BTCUSDT:1m --no-account --http off
  agentexchange bridge --config bridge.toml --api-key-file /run/secrets/agentexchange"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare a flag for every setting, grouped."""
    from agentexchange_bridge.settings import BridgeSettings

    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings in TOML, such as bridge.toml (or AGENTEXCHANGE_CONFIG)"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, field in BridgeSettings.model_fields.items():
        shown: Any = field.json_schema_extra
        if not shown["group"]:
            continue
        group = groups.get(shown["group"]) or parser.add_argument_group(shown["group"])
        groups[shown["group"]] = group
        _add_flag(group, name, field, shown["metavar"])


def _add_flag(group: argparse._ArgumentGroup, name: str, field: FieldInfo, metavar: str | None) -> None:
    from agentexchange_bridge.settings import flag_of

    kwargs: dict[str, Any] = {"dest": name, "default": None, "help": _help(name, field)}
    if field.annotation is bool:
        kwargs["action"] = argparse.BooleanOptionalAction
    elif name == "topics":
        kwargs |= {"action": "append", "metavar": metavar}
    else:
        kwargs["metavar"] = metavar or "|".join(map(str, get_args(field.annotation)))
    group.add_argument(flag_of(name), **kwargs)


def _help(name: str, field: FieldInfo) -> str:
    default = field.default
    if default is None:
        return str(field.description)
    if name == "topics":
        default = " ".join(map(str, default))
    elif isinstance(default, bool):
        default = "yes" if default else "no"
    return f"{field.description} (default: {default})"


def run(args: argparse.Namespace) -> int:
    """Work until SIGINT or SIGTERM.

    Raises:
        UsageError: a setting is wrong.
        CommandError: the worker had to give up.
    """
    from agentexchange_bridge.settings import BridgeSettings, SettingsError, load_settings

    given = {
        name: value for name, value in vars(args).items() if value is not None and name in BridgeSettings.model_fields
    }
    file = args.config or os.environ.get("AGENTEXCHANGE_CONFIG")

    def load() -> BridgeSettings:
        return load_settings(given, config=Path(file) if file else None)

    try:
        settings = load()
    except SettingsError as exc:
        raise UsageError(f"bridge: {exc}") from None
    _configure_logs(settings)
    return run_stoppable(lambda stop: _work(settings, stop, _reloading(load)))


def _configure_logs(settings: BridgeSettings) -> None:
    from agentexchange_bridge.logs import configure_logs

    configure_logs(level=settings.log_level, format=settings.log_format, secrets=settings.secrets)


def _reloading(load: Callable[[], BridgeSettings]) -> Callable[[], BridgeSettings | None]:
    """Reads the settings again; what is wrong with them is logged, and changes nothing."""
    import structlog

    from agentexchange_bridge.settings import SettingsError

    def reload() -> BridgeSettings | None:
        try:
            settings = load()
        except SettingsError as exc:
            structlog.get_logger().error("the settings are not reloaded", error=str(exc))
            return None
        _configure_logs(settings)  # a new key is masked from its first moment on
        return settings

    return reload


async def _work(settings: BridgeSettings, stop: asyncio.Event, reload: Callable[[], BridgeSettings | None]) -> int:
    import structlog

    from agentexchange.errors import AgentExchangeError
    from agentexchange_bridge.service import serve
    from agentexchange_schemas import LayoutError

    try:
        await serve(settings, stop, reload=reload)
    except (AgentExchangeError, LayoutError) as exc:
        raise CommandError(f"bridge: {exc}") from None
    except OSError as exc:
        raise CommandError(f"bridge: cannot listen on {settings.http}: {exc.strerror or exc}; see --http") from None
    except Exception:  # noqa: BLE001 - told through the log, which masks secrets; a bare traceback would not
        structlog.get_logger().exception("crashed")
        return 1
    return 0
