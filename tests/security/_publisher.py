"""A hostile publisher on Redis: what it can do to a client of a shared feed, with the right to publish or to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from agentexchange_schemas.envelope import MAX_ENVELOPE_BYTES, log_id

from ._attack import DROPPED, Attack

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sdk._layout_writer import LayoutWriter

__all__ = ["BEFORE_A_WORKER", "FORGERIES", "MALFORMED", "OLD_NUMBER", "REPAIRED", "WRITES", "Publisher"]

HUGE = 2**62
YEAR_US = 365 * 86_400_000_000


class Publisher:
    """Knows what every subscriber knows: the newest epoch, seq and time of a topic."""

    def __init__(self, writer: LayoutWriter, topic: str) -> None:
        self.writer = writer
        self.client = writer.client
        self.topic = topic
        self.base = writer.layout.base(writer.scope)

    def publish(self, raw: bytes, topic: str | None = None) -> None:
        self.client.publish(self.base + (topic or self.topic), raw)

    def envelope(self, **changes: Any) -> bytes:
        """The topic's next event, but for some keys."""
        good = {
            "v": 1,
            "t": self.topic,
            "e": self.writer.epoch,
            "n": self.writer.seqs.get(self.topic, 0) + 1,
            "u": None,
            "r": self.writer.received_us + 1,
            "d": {"forged": "yes"},
        }
        raw: bytes = msgpack.packb(good | changes)
        return raw


def forged(**changes: Any) -> Callable[[Publisher], None]:
    return lambda by: by.publish(by.envelope(**changes))


def ahead(**by_how_much: int) -> Callable[[Publisher], None]:
    """As the next event, with a seq or a time so far ahead."""

    def do(by: Publisher) -> None:
        now = {"n": by.writer.seqs.get(by.topic, 0) + 1, "r": by.writer.received_us + 1}
        by.publish(by.envelope(**{key: now[key] + more for key, more in by_how_much.items()}))

    return do


def raw(data: bytes) -> Callable[[Publisher], None]:
    return lambda by: by.publish(data)


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return {"price": "1", "more": "x" * 600, "deep": value}


MALFORMED = [
    Attack("no bytes at all", raw(b"")),
    Attack("bytes that are no msgpack", raw(b"\xc1\xff\x00 not an envelope")),
    Attack("msgpack that is no map", raw(msgpack.packb([1, 2, 3]))),
    Attack("a map nested 1,000 deep", forged(d=nested(1000))),
    Attack("a map nested 5,000 deep", raw(b"\x91" * 5000)),
    Attack("a field nested deeper than 8", forged(d=nested(9))),
    Attack("a map that claims four billion entries", raw(b"\xdf\xff\xff\xff\xff")),
    Attack("an array that claims four billion entries", raw(b"\xdd\xff\xff\xff\xff")),
    Attack("a string that claims four gigabytes", raw(b"\xdb\xff\xff\xff\xff")),
    Attack("an array of 200,000 nils", forged(d=[None] * 200_000)),
    Attack("an envelope above 256 KiB", forged(d={"x": "y" * MAX_ENVELOPE_BYTES})),
    Attack("bytes after the envelope", lambda by: by.publish(by.envelope() + b"\x00")),
    Attack("an extension type as a field", forged(d={"price": msgpack.ExtType(42, b"code")})),
    Attack("a timestamp object as a field", forged(d={"price": msgpack.Timestamp(1)})),
    Attack("bytes where text belongs", forged(d={"price": b"1"})),
    Attack("bytes as a field's name", forged(d={b"price": "1"})),
    Attack("text that is not UTF-8", lambda by: by.publish(by.envelope(d={"price": "@@"}).replace(b"@@", b"\xff\xfe"))),
    Attack("another layout version", forged(v=2)),
    Attack("true as the epoch", forged(e=True)),
    Attack("text as the epoch", forged(e="1")),
    Attack("a float as the number", forged(n=1.0)),
    Attack("NaN as the number", forged(n=float("nan"))),
    Attack("true as the number", forged(n=True)),
    Attack("NaN as the time", forged(r=float("nan"))),
    Attack("a time before 1970", forged(r=-1)),
    Attack("a time after the year 9999", forged(r=2**63)),
    Attack("a list instead of fields", forged(d=["price", "1"])),
    Attack("another topic's envelope", forged(t="ticker:OTHER")),
    Attack("a topic with braces", forged(t="ticker:{m0}")),
    Attack("a topic with a newline", forged(t="ticker:BTC\nUSDT")),
    Attack("a wildcard as the topic", forged(t="ticker:all")),
    Attack("a heartbeat without a state", lambda by: by.publish(by.envelope(t="status", n=None, d={}), "status")),
    Attack(
        "a heartbeat with a made-up state",
        lambda by: by.publish(by.envelope(t="status", n=None, d={"state": ["live"], "since": {}}), "status"),
    ),
]

FORGERIES = [
    Attack("an epoch far in the future, as the next event", forged(e=HUGE)),
    Attack("an epoch far in the future, out of turn", lambda by: by.publish(by.envelope(e=HUGE, n=HUGE))),
    Attack("the next epoch before anybody has it", lambda by: by.publish(by.envelope(e=by.writer.epoch + 1))),
    Attack("a number far ahead", ahead(n=1_000_000), DROPPED),
    Attack("the highest number there is", forged(n=2**64 - 1), DROPPED),
    Attack("a number below 1", forged(n=0), DROPPED),
    Attack("a negative number", forged(n=-5), DROPPED),
    Attack("an epoch of the past", forged(e=0), DROPPED),
    Attack("a negative epoch", forged(e=-(2**63)), DROPPED),
    Attack("a number and a time far ahead", ahead(n=1_000_000, r=50 * YEAR_US), DROPPED),
    Attack(
        "a heartbeat with an epoch far in the future",
        lambda by: by.publish(
            by.envelope(t="status", n=None, e=HUGE, d={"state": "live", "since": "2026-11-22T10:00:00Z"}), "status"
        ),
        DROPPED,
    ),
    Attack(
        "a heartbeat that names a log's end far in the future",
        lambda by: by.publish(
            by.envelope(
                t="status", n=None, d={"state": "live", "since": "2026-11-22T10:00:00Z", "log_id": "9" * 18 + "-0"}
            ),
            "status",
        ),
        DROPPED,
    ),
]


OLD_NUMBER = Attack("an old number with a newer time", lambda by: by.publish(by.envelope(n=1)), DROPPED)
"""While a client runs; one that joins at this very moment may take it for its first event."""


def value(name: str, content: Any) -> Callable[[Publisher], None]:
    """Overwrite a key of the scope with a string."""
    return lambda by: by.client.set(by.base + name, content)


def entry(fields: dict[str, str]) -> Callable[[Publisher], None]:
    """Add an entry of one's own to the log, in its turn."""

    def do(by: Publisher) -> None:
        by.writer.received_us += 1
        by.client.xadd(f"{by.base}log", fields, id=log_id(by.writer.received_us))

    return do


def field(name: str, key: str | bytes, content: Any) -> Callable[[Publisher], None]:
    return lambda by: by.client.hset(by.base + name, key, content)


GOT_OVER = "the next event from the bridge arrives"

WRITES = [
    Attack("a log entry without an envelope", entry({"x": "y"}), GOT_OVER),
    Attack("a log entry of several fields", entry({"a": "b", "e": "c"}), GOT_OVER),
    Attack("an epoch counter that is no number", value("epoch", "nonsense"), GOT_OVER),
    Attack("an epoch counter of 400 digits", value("epoch", "9" * 400), GOT_OVER),
    Attack("an epoch counter far in the future", value("epoch", HUGE), GOT_OVER),
    Attack("a number that is none, in the seq hash", field("seq", "ticker:BTCUSDT", "nonsense"), GOT_OVER),
    Attack("a huge number in the seq hash", field("seq", "ticker:BTCUSDT", "9" * 400), GOT_OVER),
    Attack("a last time that is none, in the seq hash", field("seq", "#r", "NaN"), GOT_OVER),
    Attack("names that are not UTF-8, in the seq hash", field("seq", b"\xff", 1), GOT_OVER),
    Attack("a state that is none, in the status hash", field("status", "state", "nonsense"), GOT_OVER),
    Attack("a time that is none, in the status hash", field("status", "since", "yesterday"), GOT_OVER),
    Attack("bytes that are not UTF-8, in the status hash", field("status", "message", b"\xff\xfe"), GOT_OVER),
    Attack("a latest value that is no envelope", value("latest:ticker:BTCUSDT", b"\xc1"), GOT_OVER),
    Attack(
        "a latest value with an epoch far in the future",
        lambda by: by.client.set(f"{by.base}latest:ticker:BTCUSDT", by.envelope(e=HUGE)),
        GOT_OVER,
    ),
    Attack(
        "a latest value with a number far ahead",
        lambda by: by.client.set(f"{by.base}latest:ticker:BTCUSDT", by.envelope(n=2**60)),
        GOT_OVER,
    ),
]
"""What a right to write does, to a client that joins and to one that is there; the bridge's next write repairs it."""


def wrong_type(name: str) -> Callable[[Publisher], None]:
    return lambda by: by.client.geoadd(by.base + name, (1.0, 1.0, "member"))


REPAIRED = "told, and goes on when it is repaired"
BEFORE_A_WORKER = [
    *(
        Attack(f"the {what} is another type of key", wrong_type(name), REPAIRED)
        for name, what in (
            ("lease", "lease"),
            ("epoch", "epoch counter"),
            ("seq", "seq hash"),
            ("log", "log"),
            ("log:candles", "candle log"),
            ("status", "status hash"),
            ("latest:orders", "set of open orders"),
        )
    ),
    Attack("a lease that names no epoch", value("lease", "nonsense"), REPAIRED),
    Attack("a lease of 200 KB", value("lease", "x" * 200_000), REPAIRED),
    *(attack for attack in WRITES if "latest value" not in attack.name),
]
"""What a worker finds."""
