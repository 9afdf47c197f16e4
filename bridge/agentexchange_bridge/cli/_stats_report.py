"""The report of ``agentexchange stats``: first as values, which JSON has, and out of them as lines. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentexchange_bridge.rows import iso

from ._table import amount, lag_text, printable, size_text, table, time_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agentexchange_bridge.analysis import BlindSpan, Lags, ScopeTally, Tally, TopicTally

__all__ = ["Reading", "lines_of", "values_of"]

_PERCENTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


@dataclass(slots=True)
class Reading:
    """What was read, and of what.

    Attributes:
        source: for people.
        tally: the figures.
        is_whole: whether all that was asked for was read.
        stopped: why not.
        logs: in Redis, or files: each as the report shows it.
    """

    source: str
    tally: Tally
    is_whole: bool = True
    stopped: str | None = None
    logs: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)


def values_of(reading: Reading) -> dict[str, Any]:
    """All figures; times end in ``_us`` (µs since the Unix epoch) or are ISO 8601, lags are µs, sizes bytes."""
    tally = reading.tally
    first_us, last_us = tally.first_us, tally.last_us
    span_s = 0.0 if first_us is None or last_us is None else (last_us - first_us) / 1e6
    return {
        "source": reading.source,
        "events": tally.events,
        "from": iso(first_us),
        "to": iso(last_us),
        "span_s": span_s,
        "whole": reading.is_whole,
        "stopped_by": reading.stopped,
        "junk": tally.junk,
        "scopes": [
            _scope(name, scope, tally, span_s) | {"scope": name} for name, scope in sorted(tally.scopes.items())
        ],
        "topics": [
            {"scope": name, "topic": topic} | _topic(found, span_s)
            for name, scope in sorted(tally.scopes.items())
            for topic, found in sorted(scope.topics.items())
        ],
        "not_live": [_span(span) for span in (*tally.blindness.spans, *tally.blindness.lasting)],
        "logs": reading.logs,
        "files": reading.files,
    }


def _scope(name: str, scope: ScopeTally, tally: Tally, span_s: float) -> dict[str, Any]:
    return {
        "events": scope.events,
        "topics": len(scope.topics),
        "rate": scope.events / span_s if span_s else None,
        "busiest": scope.busiest.most,
        "busiest_second": iso(None if scope.busiest.second is None else scope.busiest.second * 1_000_000),
        "bytes_per_event": scope.size / scope.events,
        "upstream_to_received": _lags(scope.lags("upstream")),
        "received_to_written": _lags(scope.lags("written")),
        "holes": sum(topic.holes for topic in scope.topics.values()),
        "missing": sum(topic.missing for topic in scope.topics.values()),
        "restarts": sum(topic.restarts for topic in scope.topics.values()),
        "notices": {
            cause: {"notices": count, "events": scope.told[cause]} for cause, count in sorted(scope.causes.items())
        },
        "not_live_s": tally.blindness.total_us(name, scope.first_us, scope.last_us) / 1e6,
    }


def _topic(topic: TopicTally, span_s: float) -> dict[str, Any]:
    return {
        "events": topic.events,
        "rate": topic.events / span_s if span_s else None,
        "busiest": topic.busiest.most,
        "bytes_per_event": topic.size / topic.events,
        "upstream_to_received": _lags(topic.upstream),
        "received_to_written": _lags(topic.written),
        "holes": topic.holes,
        "missing": topic.missing,
        "restarts": topic.restarts,
        "first": iso(topic.first_us),
        "last": iso(topic.last_us),
    }


def _lags(lags: Lags) -> dict[str, int | None]:
    return {name: lags.percentile_us(share) for name, share in _PERCENTILES} | {"max": lags.most_us}


def _span(span: BlindSpan) -> dict[str, Any]:
    return {
        "scope": span.scope,
        "topic": span.topic,
        "state": span.state,
        "cause": span.cause,
        "since": iso(span.since_us),
        "until": iso(span.until_us),
        "seconds": None if span.until_us is None else (span.until_us - span.since_us) / 1e6,
    }


def lines_of(values: dict[str, Any], top: int) -> Iterator[str]:
    """The report for people; ``top`` topics, and as many spans."""
    yield f"{amount(values['events'], 'event')} of {values['source']}"
    if values["stopped_by"]:
        yield f"stopped by {values['stopped_by']} there: more follow"
    if values["junk"]:
        yield f"left out, as they are no envelopes or notices: {values['junk']:,}"
    if values["events"]:
        yield f"{values['from']} to {values['to']}, {values['span_s']:,.3f} s"
        yield ""
        yield from _figures(values["scopes"], "TOPICS")
        ranked = sorted(values["topics"], key=lambda topic: (-topic["events"], topic["scope"], topic["topic"]))
        yield ""
        yield from _figures(ranked[:top], "TOPIC")
        if len(ranked) > top:
            yield f"and {amount(len(ranked) - top, 'topic')} more (--top)"
        yield ""
        yield from _gaps(values, top)
    yield from _stores(values)


def _figures(rows: Iterable[dict[str, Any]], second: str) -> Iterable[str]:
    heads = ("SCOPE", second, "EVENTS", "PER S", "BUSIEST S", "BYTES", "RECEIPT P50", "P95", "P99", "MAX",
             "WRITING P50", "P95", "P99", "MAX", "MISSING")  # fmt: skip
    cells = [
        (
            _short(row["scope"]), str(row["topic" if second == "TOPIC" else "topics"]), f"{row['events']:,}",
            "-" if row["rate"] is None else f"{row['rate']:,.1f}", f"{row['busiest']:,}",
            f"{row['bytes_per_event']:.0f}", *map(lag_text, row["upstream_to_received"].values()),
            *map(lag_text, row["received_to_written"].values()), f"{row['missing']:,}",
        )
        for row in rows
    ]  # fmt: skip
    return table([heads, *cells], right=range(2, len(heads)))


def _gaps(values: dict[str, Any], top: int) -> Iterator[str]:
    for scope in values["scopes"]:
        name = _short(scope["scope"])
        holes = f"{amount(scope['missing'], 'event')} missing in {amount(scope['holes'], 'hole')}"
        restarts = f", numbers begin anew {amount(scope['restarts'], 'time')}" if scope["restarts"] else ""
        yield f"{name} gaps: {holes}{restarts}; not live for {scope['not_live_s']:,.3f} s"
        for cause, told in scope["notices"].items():
            events = f" ({amount(told['events'], 'event')})" if told["events"] else ""
            yield f"  {amount(told['notices'], 'notice')} of {printable(cause)}{events}"
    spans = sorted(values["not_live"], key=lambda span: -(span["seconds"] or float("inf")))
    yield from (f"  {_span_text(span)}" for span in spans[:top])
    if len(spans) > top:
        yield f"  and {amount(len(spans) - top, 'span')} more"


def _span_text(span: dict[str, Any]) -> str:
    what = f"{_short(span['scope'])} {span['topic']}" if span["topic"] else _short(span["scope"])
    lasts = "not over yet" if span["seconds"] is None else f"{span['seconds']:,.3f} s"
    why = f" ({printable(span['cause'])})" if span["cause"] else ""
    return f"{what} {span['state']} from {span['since']}: {lasts}{why}"


def _stores(values: dict[str, Any]) -> Iterator[str]:
    if values["logs"]:
        rows = [
            (log["log"], _number(log["entries"]), size_text(log["memory_bytes"]), _number(log["bytes_per_entry"]),
             time_text(log["oldest_us"]), time_text(log["newest_us"]))
            for log in values["logs"]
        ]  # fmt: skip
        yield ""
        yield from table([("LOG", "ENTRIES", "MEMORY", "PER ENTRY", "OLDEST", "NEWEST"), *rows], right=(1, 2, 3))
        if any(log["memory_bytes"] is None for log in values["logs"]):
            yield "entries and memory need the rights of an operator (agentexchange acl --role operator)"
    if values["files"]:
        is_whole = values["events"] == sum(one["events"] for one in values["files"])
        files = [
            (one["file"], f"{one['blocks']:,}", f"{one['events']:,}", size_text(one["bytes"]),
             _number(one["bytes_per_event"]), _factor(one["compression"], is_exact=is_whole),
             time_text(one["oldest_us"]), time_text(one["newest_us"]))
            for one in values["files"]
        ]  # fmt: skip
        heads = ("FILE", "BLOCKS", "EVENTS", "SIZE", "PER EVENT", "COMPRESSED", "OLDEST", "NEWEST")
        yield ""
        yield from table([heads, *files], right=(1, 2, 3, 4, 5))


def _short(scope: str) -> str:
    return scope[:10]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _factor(value: float | None, *, is_exact: bool) -> str:
    return "-" if value is None else f"{'' if is_exact else '~'}1:{value:.1f}"
