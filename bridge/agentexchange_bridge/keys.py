"""Where API keys and their secrets come from: environment or file, never a flag: every process list would show it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from agentexchange._urls import API_KEY_MAX, api_key_secret

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

__all__ = ["KEY_VARIABLE", "SECRET_VARIABLE", "find_api_key", "find_api_secret", "read_key_file", "read_key_variable"]

KEY_VARIABLE: Final = "AGENTEXCHANGE_API_KEY"
SECRET_VARIABLE: Final = "AGENTEXCHANGE_API_SECRET"  # noqa: S105 - a name
_MAX_FILE_CHARACTERS: Final = 4096


def find_api_key(file: Path | None = None) -> SecretStr | None:
    """The key in ``file``, or else in the environment; None where neither has one.

    Raises:
        ValueError: the file cannot be read, or what is there is no key; names the place, never shows the content.
    """
    return _found(file, KEY_VARIABLE)


def find_api_secret(file: Path | None = None) -> SecretStr | None:
    """The same of the key's secret, which has a variable of its own."""
    return _found(file, SECRET_VARIABLE)


def _found(file: Path | None, variable: str) -> SecretStr | None:
    if file is not None:
        return read_key_file(file)
    text = os.environ.get(variable, "")
    return _checked(text, variable) if text else None


def read_key_variable(name: str) -> SecretStr:
    """The key (or secret) in the environment variable ``name``.

    Raises:
        ValueError: it is not set, or holds no key; names the variable, never shows the content.
    """
    text = os.environ.get(name, "")
    if not text:
        raise ValueError(f"the environment variable {name} is not set")
    return _checked(text, name)


def read_key_file(path: Path) -> SecretStr:
    """The key (or secret) in ``path``, without the white space around it.

    Raises:
        ValueError: it cannot be read, or holds no key.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_FILE_CHARACTERS).strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    except OSError as exc:
        raise ValueError(f"{path}: {exc.strerror or 'cannot be read'}") from None
    return _checked(text, str(path))


def _checked(text: str, place: str) -> SecretStr:
    try:
        return api_key_secret(text)
    except ValueError:
        raise ValueError(f"{place}: must hold 1 to {API_KEY_MAX} printable ASCII characters without spaces") from None
