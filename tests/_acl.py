"""Users of a Redis server, made from what ``agentexchange acl`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from agentexchange_bridge.acl import PASSWORD_PLACEHOLDER, bridge_rule, crew_rule, operator_rule
from agentexchange_schemas import account_scope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from tests._servers import RedisServer

__all__ = ["ADMIN_PASSWORD", "Guarded", "rules_of"]

ADMIN_PASSWORD = "pw-admin-7f3c"


def rules_of(crews: Mapping[str, str]) -> dict[str, str]:
    """The rule by user: the bridge's, the operator's, and each crew's by its API key."""
    own = {user: crew_rule("ax", [account_scope(key)]) for user, key in crews.items()}
    return {"bridge": bridge_rule("ax"), "operator": operator_rule("ax"), **own}


class Guarded:
    """A server where nobody may anything but the users made here, and an administrator who looks on."""

    def __init__(self, server: RedisServer, rules: Mapping[str, str]) -> None:
        self._server = server
        self.passwords = {user: f"pw-{user}-51d9" for user in rules} | {"admin": ADMIN_PASSWORD}
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "admin", "on", f">{ADMIN_PASSWORD}", "~*", "&*", "+@all")
            for user, rule in rules.items():
                made = rule.replace(PASSWORD_PLACEHOLDER, self.passwords[user]).split()
                client.execute_command("ACL", "SETUSER", user, *made)
            client.execute_command("ACL", "SETUSER", "default", "off")
        self.admin = self.client("admin")

    def url(self, user: str) -> str:
        """The server's address for a user."""
        return self._server.url.replace("://", f"://{user}:{self.passwords[user]}@")

    def client(self, user: str) -> redis.Redis:
        """A plain client of a user."""
        return redis.Redis.from_url(self.url(user), socket_timeout=5)

    def refusals(self) -> list[tuple[str, str]]:
        """What was refused to whom so far, as (user, command or name)."""
        log: Any = self.admin.acl_log(count=100)
        return [(entry["username"], entry["object"]) for entry in log]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()
