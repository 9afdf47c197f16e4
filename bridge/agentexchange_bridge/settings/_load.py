"""The settings of one worker from all their sources: flags before environment before file before default."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ._accounts import read_accounts
from ._errors import SettingsError, first_fault
from ._file import read_file
from ._model import ENV_PREFIX, SECRETS, BridgeSettings, flag_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["load_settings"]


def load_settings(flags: Mapping[str, Any], *, config: Path | None = None) -> BridgeSettings:
    """Read the settings; ``flags`` by field name, without those that were not given.

    Raises:
        SettingsError: a value is missing, unknown or wrong. The message never shows a secret.
    """
    in_file = {} if config is None else read_file(config)
    tables = in_file.pop("account") if isinstance(in_file.get("account"), list) else []
    for name in SECRETS:
        if _in_environment(name):
            in_file.pop(f"{name}_file", None)
    given = {**{name: value for name, value in in_file.items() if not _in_environment(name)}, **flags}
    try:
        settings = BridgeSettings(**given)
    except ValidationError as exc:
        raise SettingsError(_explain(exc, flags, config)) from None
    if not (settings.topics or settings.follow_interest or settings.account):
        raise SettingsError("there is nothing to do: give topics, or leave follow_interest or account on")
    return settings.model_copy(update={"accounts": read_accounts(settings, tables, config)})


def _in_environment(name: str) -> bool:
    wanted = f"{ENV_PREFIX}{name}".upper()
    return any(variable.upper() == wanted and value for variable, value in os.environ.items())


def _explain(exc: ValidationError, flags: Mapping[str, Any], config: Path | None) -> str:
    """The first fault in words: where the value came from, and what is wrong with it."""
    fault = first_fault(exc)
    name = str(fault["loc"][0])
    if name in flags:
        source = flag_of(name)
    elif _in_environment(name):
        source = f"{ENV_PREFIX}{name.upper()}"
    else:
        source = f"{config}: {name}"
    return f"{source}: {fault['msg'].removeprefix('Value error, ')}"
