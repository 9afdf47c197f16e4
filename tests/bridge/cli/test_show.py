from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from agentexchange_schemas import account_scope
from agentexchange_schemas.envelope import decode, encode, log_id
from tests._acl import Guarded, rules_of
from tests.bridge.cli._run import KEY, one_line, run
from tests.sdk._layout_writer import LayoutWriter
from tests.sdk.recording._samples import ACCOUNT, MARKET, START_US, tick, ticks, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests._servers import RedisServer

NOTICE = {"scope": "m0", "state": "blind", "since": "2026-11-22T09:55:18.5Z", "cause": "upstream_lost", "count": None}
EVENT = encode("ticker:BTCUSDT", 7, 51, (START_US - 3500) // 1000, START_US + 50_000,
               {"symbol": "BTCUSDT", "price": "1.5", "note": "\x1b[31m"}, START_US + 50_380)  # fmt: skip


def order(number: int, status: str, order_id: str = "o-1") -> bytes:
    return encode("orders", 7, number, None, START_US + number * 1000, {"order_id": order_id, "status": status})


@pytest.fixture
def day(tmp_path: Path) -> Path:
    market = [*ticks(50), EVENT, *ticks(100)[51:]]
    market.append(encode("status", 7, 1, None, START_US + 2_000_000, NOTICE))
    market.append(encode("status", 7, 2, None, START_US + 9_000_000, NOTICE))
    orders = [order(1, "new"), order(2, "filled"), order(3, "new", "o-2")]
    return write(tmp_path / "day.axlog", [(MARKET, market), (ACCOUNT, orders)])


async def values(*argv: Any, key: str | None = None) -> dict[str, Any]:
    result = await run("show", *map(str, argv), "--json", key=key)
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


@pytest.mark.parametrize("name", ["ticker:BTCUSDT@51", log_id(START_US + 50_000)])
async def test_all_of_an_event(day: Path, name: str) -> None:
    found = await values(name, day)
    near = {part: [event["seq"] for event in found.pop(part)] for part in ("before", "after", "notices")}
    assert near == {"before": [48, 49, 50], "after": [52, 53, 54], "notices": [1]}
    assert found == {
        "topic": "ticker:BTCUSDT", "scope": "m0", "epoch": 7, "seq": 51, "log_id": "1795341318050-0",
        "upstream_time": "2026-11-22T09:55:17.996000Z", "received_time": "2026-11-22T09:55:18.050000Z",
        "written_time": "2026-11-22T09:55:18.050380Z", "source": "recorded", "log": "log", "log_name": MARKET.log_id,
        "size": len(EVENT), "upstream_to_received_us": 54_000, "received_to_written_us": 380, "frame": None,
        "data": decode(EVENT).data, "envelope": msgpack.unpackb(EVENT), "msgpack": EVENT.hex(),
    }  # fmt: skip


async def test_for_people_it_says_what_is_not_kept_and_how_to_keep_it(day: Path) -> None:
    result = await run("show", "ticker:BTCUSDT@51", str(day), "--context", "1")
    lines = result.out.splitlines()
    assert (result.code, result.err, lines[0]) == (0, "", "m0 ticker:BTCUSDT #51")
    assert "  received       2026-11-22T09:55:18.050000Z, 54.0 ms later" in lines
    assert "  written        2026-11-22T09:55:18.050380Z, 380 µs later" in lines
    assert "  frame          not kept: run the bridge with --keep-frames (frames above 64 KiB are not)" in lines
    assert r"  note    \x1b[31m" in lines
    assert "\x1b" not in result.out
    assert lines[lines.index("before it") + 1].split()[1] == "#50"
    assert lines[lines.index("after it") + 1].split()[1] == "#52"
    assert "cause=upstream_lost" in lines[lines.index("notices around it") + 1]


async def test_a_kept_frame_is_shown_as_it_came_with_what_became_of_it(tmp_path: Path) -> None:
    frame = '{"channel":"orders",\n "data":{"order_id":"o-1","status":"new","quantity":1.50,"note":"\\u001b[31m"}}'
    fields = {"order_id": "o-1", "status": "new", "fee": None, "quantity": "1.50", "note": "red", "reconciled": True}
    raw = encode("orders", 7, 1, None, START_US, fields, START_US + 5, frame=frame)
    recording = write(tmp_path / "t.axlog", [(ACCOUNT, [raw])])
    assert (await values("orders@1", recording))["frame"] == frame
    result = await run("show", "orders@1", str(recording))
    lines = result.out.splitlines()
    assert "--keep-frames" not in result.out
    begin = lines.index(f"frame, {len(frame)} bytes as the platform sent them")
    assert (
        lines[begin + 1]
        == r'  {"channel":"orders",\n "data":{"order_id":"o-1","status":"new","quantity":1.50,"note":"\u001b[31m"}}'
    )
    assert lines[begin + 2 : begin + 6] == [
        "  added: reconciled",
        "  not sent: fee",
        "  left out: channel",
        r"  changed: note, from \x1b[31m to red",
    ]
    assert lines[begin + 6] == f"envelope, {len(raw)} bytes of msgpack"
    assert '"f": "…", "d": {"order_id": "o-1"' in lines[begin + 7]


async def test_what_has_no_frame_says_why(tmp_path: Path) -> None:
    built = encode("candles:A:1m", 7, 1, None, START_US, {"symbol": "A", "source": "built"})
    recording = write(tmp_path / "t.axlog", [(MARKET, [built])])
    assert "  frame          none: built from ticks" in (await run("show", "candles:A:1m@1", str(recording))).out


async def test_how_much_is_around_it_is_a_choice(day: Path) -> None:
    found = await values("ticker:BTCUSDT@3", day, "--context", "5", "--around", "30")
    assert [len(found[part]) for part in ("before", "after", "notices")] == [2, 5, 2]
    alone = await values("ticker:BTCUSDT@3", day, "--context", "0", "--around", "0")
    assert [alone[part] for part in ("before", "after", "notices")] == [[], [], []]


async def test_the_newest_event_of_an_order_by_its_id(day: Path) -> None:
    found = await values("o-1", day)
    assert (found["scope"], found["seq"], found["data"]["status"]) == (ACCOUNT.scope, 2, "filled")
    assert [event["seq"] for event in (*found["before"], *found["after"])] == [1, 3]


async def test_a_notice_by_its_number_is_not_among_those_around_it(day: Path) -> None:
    found = await values("status@1", day, "--around", "60")
    assert [event["seq"] for event in found["notices"]] == [2]


async def test_two_logs_with_an_entry_of_that_id_are_both_shown(tmp_path: Path) -> None:
    both = write(tmp_path / "t.axlog", [(MARKET, [tick(1)]), (ACCOUNT, [order(1, "new")])])
    result = await run("show", log_id(START_US + 1000), str(both), "--json")
    assert [json.loads(line)["topic"] for line in result.out.splitlines()] == ["ticker:BTCUSDT", "orders"]
    assert (await values(log_id(START_US + 1000), both, "--scope", "m0"))["topic"] == "ticker:BTCUSDT"


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("ticker:BTCUSDT@101", "what is held is #1 to #100 of ticker:BTCUSDT, 2026-11-22T09:55:18.000000Z to "),
        ("ticker:ETHUSDT@1", "what is held is nothing of ticker:ETHUSDT, 2026"),
        ("status@3", "#1 to #2 of status"),
        ("1-1", "(log ids 1795341318000-0 to 1795341327000-0) of m0 a-0000"),
        ("o-9", "there is no event 'o-9': what is held is 2026"),
        ("o@9", "there is no event 'o@9': what is held is 2026"),
    ],
)
async def test_what_is_not_there_is_exit_code_1_and_what_there_is_is_told(day: Path, name: str, there: str) -> None:
    result = await run("show", name, str(day))
    assert result.code == 1
    assert there in one_line(result)


async def test_nothing_at_all(tmp_path: Path) -> None:
    result = await run("show", "1-1", str(write(tmp_path / "empty.axlog", [])))
    assert (result.code, one_line(result)) == (
        1,
        "agentexchange: show: there is no event '1-1': nothing at all is held\n",
    )


@pytest.fixture
def log(redis_server: RedisServer) -> Iterator[LayoutWriter]:
    writer = LayoutWriter(redis_server.url)
    writer.install()
    writer.bulk(["ticker:BTCUSDT", "ticker:ETHUSDT", "candles:BTCUSDT:1m"], 9000)
    account = LayoutWriter(redis_server.url, account_scope(KEY))
    for status in ("new", "filled"):
        account.event("orders", {"order_id": "o-1", "status": status})
    account.close()
    yield writer
    writer.close()


async def test_the_logs_of_redis_with_the_rights_of_a_crew_and_of_an_operator(
    redis_server: RedisServer, log: LayoutWriter
) -> None:
    with Guarded(redis_server, rules_of({"crew": KEY})) as guarded:
        for user in ("crew", "operator"):
            found = await values("ticker:ETHUSDT@1500", "--url", guarded.url(user))
            assert (found["seq"], found["data"]["price"], found["log"]) == (1500, "1500", "log")
            assert [event["seq"] for event in (*found["before"], *found["after"])] == [
                1497,
                1498,
                1499,
                1501,
                1502,
                1503,
            ]
            candle = await values("candles:BTCUSDT:1m@7", "--url", guarded.url(user))
            assert (candle["log"], candle["log_name"]) == ("log:candles", "log-1")
            again = await values(candle["log_id"], "--url", guarded.url(user))
            assert again["topic"] == "candles:BTCUSDT:1m"
            newest = await values("o-1", "--url", guarded.url(user), key=KEY)
            assert (newest["data"]["status"], len(newest["before"])) == ("filled", 1)
        assert guarded.refusals() == []
    gone = await run("show", "ticker:ETHUSDT@3001", "--url", guarded.url("operator"), key=None)
    assert "#1 to #3000 of ticker:ETHUSDT" in one_line(gone)


async def test_an_event_whose_neighbours_were_trimmed(redis_server: RedisServer, log: LayoutWriter) -> None:
    key = log.layout.log("m0")
    oldest = decode(log.client.xrange(key, count=1000)[-1][1][b"e"])  # type: ignore[index]
    log.client.xtrim(key, minid=log_id(oldest.received_us), approximate=False)
    found = await values(f"{oldest.topic}@{oldest.seq}", "--url", redis_server.url)
    assert (found["before"], len(found["after"])) == ([], 3)
    gone = await run("show", f"{oldest.topic}@{(oldest.seq or 0) - 1}", "--url", redis_server.url, key=None)
    assert (gone.code, f"#{oldest.seq} to #3000 of {oldest.topic}" in one_line(gone)) == (1, True)


async def test_bad_input_is_exit_code_2(day: Path) -> None:
    for argv, message in [
        ((), "the following arguments are required: EVENT"),
        (("1-1",), "name the Redis server by its URL"),
        (("1-1", "--url", "ws://x"), "must begin with redis://"),
        (("1-1", day, "--scope", "x"), "scope"),
        (("1-1", day, "--context", "101"), "must be a number from 0 to 100"),
        (("1-1", day, "--around", "inf"), "must be a number from 0 to 3600"),
        (("x" * 257, day), "must have 1 to 256 characters"),
    ]:
        result = await run("show", *map(str, argv))
        assert result.code == 2, argv
        assert message in one_line(result)
