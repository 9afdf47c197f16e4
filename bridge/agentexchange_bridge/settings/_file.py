"""The file of settings, ``bridge.toml``: read, and its names checked."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from ._errors import SettingsError
from ._model import ENV_PREFIX, SECRETS, BridgeSettings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_file"]

_MAX_BYTES: Final = 64 * 1024


def read_file(path: Path) -> dict[str, Any]:
    """Its values by name, as they stand there; ``account`` may be a list of tables.

    Raises:
        SettingsError: it cannot be read, is too large or is not TOML, or holds a name that is no setting, or a secret.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        values = tomllib.loads(raw.decode())
    except OSError as exc:
        raise SettingsError(f"--config {path}: {exc.strerror or exc}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} is not TOML: {exc}") from None
    if len(raw) > _MAX_BYTES:
        raise SettingsError(f"{path} is larger than {_MAX_BYTES} bytes")
    for name in values:
        _check_name(name, path)
    return values


def _check_name(name: str, path: Path) -> None:
    if name in SECRETS:
        raise SettingsError(f"{path}: {name} does not belong there: set {ENV_PREFIX}{name.upper()}, or {name}_file")
    valid = sorted(set(BridgeSettings.model_fields) - SECRETS - {"accounts"})
    if name not in valid:
        nearest = get_close_matches(name.replace("-", "_"), valid, 1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"use {', '.join(valid)}"
        raise SettingsError(f"{path}: unknown setting {name[:40]!r}: {hint}")
