"""The accounts: the key of the environment, and those that the ``[[account]]`` tables of the file lead to."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from agentexchange_bridge.accounts import DEFAULT_ACCOUNT, Account, checked_accounts
from agentexchange_bridge.keys import KEY_VARIABLE, find_api_key, find_api_secret, read_key_file, read_key_variable

from ._errors import SettingsError, first_fault
from ._model import SECRETS

if TYPE_CHECKING:
    from ._model import BridgeSettings

__all__ = ["read_accounts"]

_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"


def read_accounts(settings: BridgeSettings, tables: list[Any], config: Path | None) -> tuple[Account, ...]:
    """The key of the environment or of ``api_key_file`` first, then those of the tables.

    Raises:
        SettingsError: there is no key, or one is not where it is said to be, or a name or a key comes twice.
    """
    try:
        key, secret = find_api_key(settings.api_key_file), find_api_secret(settings.api_secret_file)
    except ValueError as exc:
        raise SettingsError(str(exc)) from None
    first = [] if key is None else [Account(DEFAULT_ACCOUNT, key, secret)]
    accounts = [*first, *(_account(table, number, config) for number, table in enumerate(tables, 1))]
    if not accounts:
        raise SettingsError(
            f"there is no API key: set {KEY_VARIABLE}, or name a file with --api-key-file, or [[account]] in --config"
        )
    try:
        return checked_accounts(accounts)
    except ValueError as exc:
        raise SettingsError(str(exc)) from None


def _account(table: Any, number: int, config: Path | None) -> Account:
    place = f"{config}: [[account]] {number}"
    try:
        return AccountTable.model_validate(table).read()
    except ValidationError as exc:
        fault = first_fault(exc)
        name = ".".join(str(part) for part in fault["loc"]) or "table"
        is_secret = name in {"key", "secret", *SECRETS}
        hint = f"; the {name.removeprefix('api_')} itself does not belong there" if is_secret else ""
        raise SettingsError(f"{place}: {name}: {fault['msg']}{hint}") from None
    except ValueError as exc:
        raise SettingsError(f"{place}: {exc}") from None


class AccountTable(BaseModel):
    """One ``[[account]]`` of the file: a name, and where its key is; its secret too, if REST wants one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    key_file: Path | None = None
    key_env: str | None = Field(default=None, pattern=_VARIABLE)
    secret_file: Path | None = None
    secret_env: str | None = Field(default=None, pattern=_VARIABLE)

    def read(self) -> Account:
        """Read its key, and its secret.

        Raises:
            ValueError: not exactly one of ``key_file`` and ``key_env``, or both of ``secret_file`` and ``secret_env``;
                or there is no key or secret where one is said to be.
        """
        key = _only_one("key", self.key_file, self.key_env)
        if key is None:
            raise ValueError("give either key_file or key_env")
        return Account(self.name, key, _only_one("secret", self.secret_file, self.secret_env))


def _only_one(noun: str, file: Path | None, variable: str | None) -> SecretStr | None:
    if file is not None and variable is not None:
        raise ValueError(f"give either {noun}_file or {noun}_env")
    if variable is not None:
        return read_key_variable(variable)
    return None if file is None else read_key_file(file)
