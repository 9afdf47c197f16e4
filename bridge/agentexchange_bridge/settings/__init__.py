"""Settings of the bridge: flags before environment before file before default, read and checked in this one place.

Every field is at once a flag (``--redis-url``), a variable (``AGENTEXCHANGE_REDIS_URL``) and a key of
``bridge.toml`` (``redis_url``). The exceptions: the API key and its secret, which are never flags and never in that
file, and further accounts, which are ``[[account]]`` tables of that file.
"""

from __future__ import annotations

from ._errors import SettingsError
from ._load import load_settings
from ._model import ENV_PREFIX, BridgeSettings, flag_of

__all__ = ["ENV_PREFIX", "BridgeSettings", "SettingsError", "flag_of", "load_settings"]
