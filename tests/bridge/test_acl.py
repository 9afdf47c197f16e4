"""What the printed rules refuse, on real servers; that everything works under them: tests/integration/test_acl.py."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import redis

from agentexchange_bridge.acl import crew_rule
from agentexchange_schemas import LayoutError, account_scope
from tests._acl import Guarded, rules_of
from tests._servers import RedisServer, server_binaries, short_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

OWN, OTHER = "ak_live_acl_crew_a", "ak_live_acl_crew_b"
A, B = f"ax:{{{account_scope(OWN)}}}:", f"ax:{{{account_scope(OTHER)}}}:"
INTEREST_A, INTEREST_B = f"ax:interest:{account_scope(OWN)}", f"ax:interest:{account_scope(OTHER)}"
M = "ax:{m0}:"

NOBODY_MAY = """
KEYS * | SCAN 0 | RANDOMKEY | DBSIZE | FLUSHALL | FLUSHDB | SHUTDOWN NOSAVE | SAVE | BGSAVE | MONITOR | SWAPDB 0 1
CONFIG SET maxmemory 1 | ACL LIST | ACL GETUSER bridge | ACL SETUSER x on | ACL DELUSER bridge | ACL LOG
CLIENT LIST | CLIENT KILL ID 1 | CLIENT PAUSE 1 | CLIENT TRACKING on | CLIENT NO-EVICT on | REPLICAOF NO ONE
MODULE LIST | FUNCTION LIST | FUNCTION LOAD x | FCALL f 0 | SCRIPT FLUSH | SCRIPT KILL | SLOWLOG GET
LATENCY LATEST | OBJECT ENCODING {M}log | OBJECT FREQ {M}log | PUBSUB CHANNELS
PUBSUB NUMSUB {B}orders | PSUBSCRIBE * | PSUBSCRIBE ax:* | DUMP {M}log
SORT {A}latest:orders BY nosort GET {B}latest:orders:* | COPY {B}latest:portfolio {A}pos:x | MIGRATE h 1 {A}log 0 1
RENAME {A}pos:x {A}pos:y | RESTORE {A}pos:x 0 x | WAIT 0 0 | CLUSTER INFO | COMMAND LIST
SUBSCRIBE __keyevent@0__:set | GET other:secret | UNLINK {A}log | XGROUP DESTROY {A}log g | XGROUP SETID {A}log g 0
XSETID {A}log 1-1 | PUBLISH elsewhere x
"""

A_CREW_MAY_NOT = """
GET {B}latest:portfolio | MGET {A}latest:portfolio {B}latest:portfolio | HGETALL {B}status | HGET {B}seq orders
HKEYS {B}seq | SMEMBERS {B}latest:orders | EXISTS {B}lease | PTTL {B}lease | XRANGE {B}log - +
XREVRANGE {B}log + - | XREAD STREAMS {B}log 0 | XREAD STREAMS {A}log {B}log 0 0 | XINFO STREAM {B}log
XINFO GROUPS {B}log | XPENDING {B}log g | XREADGROUP GROUP g c STREAMS {B}log >
XREADGROUP GROUP g c STREAMS {A}log {B}log > > | XACK {B}log g 1-1 | XCLAIM {B}log g c 0 1-1
XGROUP CREATE {B}log g 0 | XRANGE {B}dead:g - + | XADD {B}dead:g * e x | XDEL {B}dead:g 1-1 | SET {B}group:g x
HSET {B}pos:p f v | DEL {B}pos:p | XADD {A}log * e x | XADD {A}log:candles * e x | XTRIM {A}log MAXLEN 0
XDEL {A}log 1-1 | DEL {A}log | SET {A}log x | PEXPIRE {A}log 1 | SET {A}latest:portfolio x | SET {A}lease w/1
DEL {A}lease | SET {A}epoch 9 | HSET {A}seq orders 9 | HSET {A}status state live | SADD {A}latest:orders 1
SREM {A}latest:orders 1 | SET {M}latest:ticker:X x | SET {M}lease w/1 | SET {M}candle-state x | DEL {M}log
XADD {M}log * e x | XADD {M}log:candles * e x | XTRIM {M}log MAXLEN 0 | XGROUP CREATE {M}log g 0
XREADGROUP GROUP g c STREAMS {M}log > | XACK {M}log g 1-1 | XCLAIM {M}log g c 0 1-1 | XINFO GROUPS {M}log
XPENDING {M}log g | XADD {M}dead:g * e x | HSET {M}pos:p f v | XADD {M}log:retry:g * e x | SET {M}group:g x
HSET ax:meta version 9 | DEL ax:meta | ZADD ax:workers 1 w | ZADD ax:interests 1 x | PUBLISH {A}orders x
PUBLISH {A}status x | PUBLISH {B}orders x | PUBLISH {B}status x | PUBLISH {M}ticker:X x | PUBLISH {M}status x
SPUBLISH {A}orders x | SUBSCRIBE {B}orders | SUBSCRIBE {A}orders {B}orders | SUBSCRIBE {B}status
SSUBSCRIBE {B}orders | SUBSCRIBE ax:control | SUBSCRIBE * | ZRANGE {IB} 0 -1 | HGETALL {IB}:c | ZADD {IB} 1 c
HSET {IB}:c topics x | DEL {IB} | ZRANGE ax:interests 0 -1 | ZRANGE ax:workers 0 -1 | INFO | CONFIG GET requirepass
ACL WHOAMI | ACL DRYRUN bridge GET x | TYPE {B}log | XLEN {B}log | MEMORY USAGE {M}log
"""

THE_OPERATOR_MAY_NOT = """
SET {A}latest:portfolio x | SET {A}lease w/1 | DEL {A}lease | DEL {A}log | XADD {A}log * e x | XTRIM {A}log MAXLEN 0
XDEL {A}log 1-1 | XACK {A}log g 1-1 | XGROUP CREATE {A}log g 0 | XREADGROUP GROUP g c STREAMS {A}log >
HSET {A}seq orders 9 | HSET {A}pos:p f v | SET {A}group:g x | PUBLISH {A}orders x | PUBLISH {M}status x
SET ax:interest:x 1 | HSET ax:meta version 9
EVALSHA 0000000000000000000000000000000000000000 1 {A}log | SCRIPT LOAD return(1) | EVAL return(1) 1 {A}log
"""

THE_BRIDGE_MAY_NOT = """
ZADD {IA} 1 c | HSET {IA}:c topics x | DEL {IA}:c | XGROUP CREATE {A}log g 0 | XREADGROUP GROUP g c STREAMS {A}log >
XACK {A}log g 1-1 | XDEL {A}log 1-1 | SUBSCRIBE {A}orders | PUBLISH ax:control x | INFO | CONFIG GET requirepass
ACL WHOAMI | XINFO GROUPS {A}log | MEMORY USAGE {A}log
"""


def commands(table: str) -> list[str]:
    names = {"A": A, "B": B, "M": M, "IA": INTEREST_A, "IB": INTEREST_B}
    return [entry.strip().format(**names) for entry in re.split(r"[|\n]", table) if entry.strip()]


FORBIDDEN = [
    *(("crew", command) for command in commands(NOBODY_MAY + A_CREW_MAY_NOT)),
    *(("operator", command) for command in commands(NOBODY_MAY + THE_OPERATOR_MAY_NOT)),
    *(("bridge", command) for command in commands(NOBODY_MAY + THE_BRIDGE_MAY_NOT)),
]


@pytest.fixture(scope="module")
def guarded(redis_kind: str) -> Iterator[Guarded]:
    """One server for the whole table: nothing of it changes anything."""
    folder = short_folder()
    server = RedisServer(binary=server_binaries()[redis_kind], folder=folder)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(server.kill)
        server.start()
        guarded = stack.enter_context(Guarded(server, rules_of({"crew": OWN, "other": OTHER})))
        guarded.admin.xadd(f"{A}log", {"e": "own"}, id="1-1")
        guarded.admin.xadd(f"{B}log", {"e": "secret"}, id="1-1")
        guarded.admin.set(f"{B}latest:portfolio", "secret")
        yield guarded


@pytest.mark.parametrize(("role", "command"), FORBIDDEN, ids=lambda value: value[:60])
def test_a_forbidden_command_is_refused(guarded: Guarded, role: str, command: str) -> None:
    with guarded.client(role) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split(" "))


SCRIPTS = [
    (1, f"return redis.call('GET', '{B}latest:portfolio')"),
    (1, f"return redis.call('XADD', '{A}log', '*', 'e', 'x')"),
    (1, f"return redis.call('PUBLISH', '{A}orders', 'x')"),
    (1, f"return redis.pcall('DEL', '{A}log')"),
    (1, "return redis.call('KEYS', '*')"),
    (1, "return redis.call('SCAN', '0')"),
    (1, "return redis.call('FLUSHALL')"),
    (2, f"return redis.call('GET', '{B}latest:portfolio')"),
]


@pytest.mark.parametrize(("keys", "text"), SCRIPTS, ids=[text[7:40] for _, text in SCRIPTS])
def test_a_script_may_no_more_than_its_caller(guarded: Guarded, keys: int, text: str) -> None:
    """With a key of its own it is allowed to run; what it calls is looked at each by itself."""
    names = [f"{A}dead:g", f"{B}dead:g"][:keys]
    with guarded.client("crew") as client:
        for call in (
            lambda: client.eval(text, keys, *names),
            lambda: client.evalsha(client.script_load(text), keys, *names),
        ):
            with pytest.raises(
                redis.ResponseError, match=r"(?i)no permissions|NOPERM|ACL failure|executing the script can't"
            ):
                call()
    assert guarded.admin.xlen(f"{A}log") == 1


@pytest.mark.parametrize("user", ["crew", "operator", "bridge"])
def test_a_blocked_read_tells_nothing_of_another_database(guarded: Guarded, user: str) -> None:
    """SELECT is allowed, and the same patterns hold there."""
    with guarded.client(user) as client:
        client.execute_command("SELECT", 1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command("GET", "other:secret")


def test_a_crew_of_two_accounts_may_both_and_no_third(guarded: Guarded) -> None:
    accounts = [account_scope(OWN), account_scope(OTHER)]
    for account in accounts:
        rule = crew_rule("ax", accounts)
        assert f"%R~ax:{{{account}}}:*" in rule
        assert f"~ax:interest:{account} " in rule
    assert account_scope("ak_third") not in crew_rule("ax", accounts)


def test_a_grant_on_market_logs_names_its_groups_and_positions(guarded: Guarded) -> None:
    rule = crew_rule("ax", [account_scope(OWN)], groups=["exec"], positions=["rec"]).replace("PASSWORD", "pw-granted")
    guarded.admin.execute_command("ACL", "SETUSER", "granted", *rule.split())
    with redis.Redis.from_url(guarded.url("crew").replace("crew:pw-crew-51d9", "granted:pw-granted")) as client:
        for command in (f"XGROUP CREATE {M}log exec $ MKSTREAM", f"XACK {M}log exec 1-1", f"HSET {M}pos:rec f v"):
            client.execute_command(*command.split())
        for command in (
            f"HSET {M}pos:other f v",
            f"SET {M}group:other x",
            f"XADD {M}dead:other * e x",
            f"XADD {M}log * e x",
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())
    guarded.admin.execute_command("ACL", "DELUSER", "granted")


@pytest.mark.parametrize(
    "wrong", [("*", ["a-" + "0" * 32]), ("ax", ["a-*"]), ("ax", ["m0} ~*"]), ("ax", ["a-" + "0" * 31])]
)
def test_names_that_would_widen_a_rule_are_refused(wrong: Any, redis_kind: str) -> None:
    with pytest.raises(LayoutError):
        crew_rule(*wrong)
    with pytest.raises(LayoutError):
        crew_rule("ax", ["a-" + "0" * 32], groups=["*"])
    with pytest.raises(LayoutError):
        crew_rule("ax", ["a-" + "0" * 32], positions=["x ~*"])
