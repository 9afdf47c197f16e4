"""Checks of the Redis server itself: version, memory, persistence, buffers, replicas, clock."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final

from agentexchange.redis import ReplyError

from ._result import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agentexchange.redis import RespStream

__all__ = ["as_texts", "check_server", "judge_clock", "server_ahead"]

MIN_REDIS: Final = (7, 0)
PUBSUB_HARD_BYTES: Final = 32 * 1024 * 1024  # Redis's own default: below it a short stall already cuts a subscriber
PUBSUB_SOFT_BYTES: Final = 8 * 1024 * 1024
MEMORY_SHARE: Final = 0.8
CLOCK_WARN_S: Final = 0.5  # ages and latencies are wrong by this much
CLOCK_FAIL_S: Final = 5.0  # more than a lease lives


async def check_server(stream: RespStream) -> AsyncIterator[Finding]:
    """Everything that the server says about itself."""
    info = parse_info(await stream.command("INFO"))
    yield version(info)
    yield await clock(stream)
    settings = await _settings(stream)
    if settings is None:
        yield warn(
            "settings", "CONFIG GET is not allowed to this user", "run doctor as an operator, or ask your provider"
        )
    else:
        yield eviction(settings, info)
        yield persistence(settings, info)
        yield output_buffer(settings)
        yield replicas(settings, info)


def as_texts(flat: list[Any]) -> dict[str, str]:
    """A hash as RESP2 answers it."""
    texts = [part.decode(errors="replace") for part in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def parse_info(raw: bytes) -> dict[str, str]:
    """INFO's fields."""
    lines = (line.partition(":") for line in raw.decode(errors="replace").splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


def version(info: dict[str, str]) -> Finding:
    """Redis 7 or newer, or any Valkey."""
    if valkey := info.get("valkey_version"):
        return ok("server", f"Valkey {valkey}")
    text = info.get("redis_version", "")
    numbers = re.match(r"(\d+)\.(\d+)", text)
    if numbers is None:
        return warn("server", "it does not tell its version", "use Redis 7 or newer, or Valkey")
    if (int(numbers[1]), int(numbers[2])) < MIN_REDIS:
        return fail("server", f"Redis {text}", "update to Redis 7 or newer, or to Valkey")
    return ok("server", f"Redis {text}")


async def clock(stream: RespStream) -> Finding:
    """The server's clock beside this machine's, less half the round trip."""
    ahead_s, doubt_s = await server_ahead(stream)
    return judge_clock("clock", "the server", ahead_s, doubt_s)


async def server_ahead(stream: RespStream) -> tuple[float, float]:
    """How far the server's clock is ahead of this machine's, and the round trip that it took to know; seconds."""
    began = time.time()
    seconds, microseconds = await stream.command("TIME")
    ended = time.time()
    return int(seconds) + int(microseconds) / 1e6 - (began + ended) / 2, ended - began


def judge_clock(check: str, whose: str, ahead_s: float, doubt_s: float) -> Finding:
    """A clock beside this machine's."""
    found = f"{whose} is {abs(ahead_s) * 1000:.0f} ms {'ahead of' if ahead_s > 0 else 'behind'} this machine"
    if abs(ahead_s) <= max(CLOCK_WARN_S, doubt_s):
        return ok(check, found)
    judge = fail if abs(ahead_s) > CLOCK_FAIL_S else warn
    return judge(check, found, "run an NTP client (chrony, systemd-timesyncd) on both machines")


async def _settings(stream: RespStream) -> dict[str, str] | None:
    names = ("maxmemory*", "append*", "client-output-buffer-limit", "min-replicas*")
    try:
        flat = [part for name in names for part in await stream.command("CONFIG", "GET", name)]
    except ReplyError:
        return None
    return as_texts(flat)


def eviction(settings: dict[str, str], info: dict[str, str]) -> Finding:
    """``noeviction``, and a limit that is not nearly used up."""
    limit, policy = int(settings.get("maxmemory", "0")), settings.get("maxmemory-policy", "")
    if policy != "noeviction":
        return fail(
            "eviction",
            f"maxmemory-policy is {policy}: a full server would delete parts of the log without a word",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if limit == 0:
        return warn("eviction", "noeviction, but no memory limit", "CONFIG SET maxmemory 1gb (or what the machine has)")
    used = int(info.get("used_memory", "0"))
    found = f"noeviction, {used / limit:.0%} of {limit // 1024**2} MiB used"
    if used > limit * MEMORY_SHARE:
        return warn("eviction", found, "raise maxmemory before writes are refused")
    return ok("eviction", found)


def persistence(settings: dict[str, str], info: dict[str, str]) -> Finding:
    """An append-only file, and the last writes of it went well."""
    if settings.get("appendonly") != "yes":
        return warn(
            "persistence",
            "no append-only file: a restart of the server loses the log",
            "CONFIG SET appendonly yes, and the same in redis.conf",
        )
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("aof_last_bgrewrite_status", "ok") != "ok":
        return fail("persistence", "the append-only file could not be written", "look at the server's log and disk")
    return ok("persistence", f"append-only file, written {settings.get('appendfsync', '?')}")


def output_buffer(settings: dict[str, str]) -> Finding:
    """What a subscriber may lag behind before the server cuts it off."""
    limits = re.search(r"pubsub (\d+) (\d+) (\d+)", settings.get("client-output-buffer-limit", ""))
    if limits is None:
        return warn("subscriber buffer", "the server does not tell it", "keep Redis's defaults or more")
    hard, soft, seconds = (int(number) for number in limits.groups())
    found = f"{hard // 1024**2} MiB, or {soft // 1024**2} MiB for {seconds} s (0: no limit)"
    if (hard and hard < PUBSUB_HARD_BYTES) or (soft and soft < PUBSUB_SOFT_BYTES):
        return warn(
            "subscriber buffer",
            f"{found}: a short stall cuts subscribers off",
            'CONFIG SET client-output-buffer-limit "pubsub 33554432 8388608 60"',
        )
    return ok("subscriber buffer", found)


def replicas(settings: dict[str, str], info: dict[str, str]) -> Finding:
    """With replicas, a primary that lost them must stop taking writes: fencing is exact inside one server only."""
    if info.get("role") == "slave":
        return fail("replicas", "this server is a replica", "give the URL of the primary")
    count, wanted = int(info.get("connected_slaves", "0")), int(settings.get("min-replicas-to-write", "0"))
    if count and not wanted:
        return warn(
            "replicas",
            f"{count} connected, and min-replicas-to-write is 0: a primary cut off from them goes on alone",
            "CONFIG SET min-replicas-to-write 1",
        )
    return ok("replicas", f"{count} connected, min-replicas-to-write {wanted}")
