"""How the demonstration looks: a live table on a terminal, a line a second elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from types import TracebackType

    from ._compare import Check

__all__ = ["Figures", "PlainView", "TerminalView", "View", "show_summary"]


@dataclass(frozen=True, slots=True)
class Figures:
    """One moment of the demonstration.

    Attributes:
        elapsed_s: since the consumers run.
        sessions: upstream sessions that the bridge has opened.
        reports: each consumer's newest figures.
        rates: events per second of each.
        pids: of each.
    """

    elapsed_s: float
    sessions: int
    reports: dict[str, dict[str, Any]]
    rates: dict[str, float]
    pids: dict[str, int]

    @property
    def connections(self) -> str:
        """The point of it all."""
        live = sum(report.get("live", False) for report in self.reports.values())
        return f"upstream sessions: {self.sessions}, consumers: {live}"

    @property
    def prices(self) -> dict[str, str]:
        """The newest prices that any consumer shows."""
        return {symbol: price for report in self.reports.values() for symbol, price in report["prices"].items()}


class View(Protocol):
    """Shows figures while it is entered."""

    interval_s: float

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""

    def update(self, figures: Figures) -> None:
        """Show the next moment."""


class PlainView:
    """A line a second."""

    interval_s = 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, figures: Figures) -> None:
        """Print one line."""
        parts = [f"{figures.elapsed_s:5.1f} s", figures.connections]
        for role, report in figures.reports.items():
            parts.append(f"{role}: {figures.rates[role]:.0f}/s {_latency(report['from_exchange'])}")
        parts.append(" ".join(f"{symbol} {price}" for symbol, price in sorted(figures.prices.items())))
        print(" | ".join(part for part in parts if part), flush=True)  # noqa: T201 - a command's output


class TerminalView:
    """Two tables that change in place."""

    interval_s = 0.25

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False, transient=False)
        self._before: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, figures: Figures) -> None:
        """Draw both tables anew."""
        self._live.update(
            Group(_processes(figures), self._prices(figures), f"[bold]{figures.connections}[/]"), refresh=True
        )

    def _prices(self, figures: Figures) -> Table:
        table = Table("pair", "price", title="prices", title_justify="left")
        for symbol, price in sorted(figures.prices.items()):
            color = _color(price, self._before.get(symbol))
            table.add_row(symbol, f"[{color}]{price}[/]" if color else price)
        self._before = figures.prices
        return table


def _processes(figures: Figures) -> Table:
    title = f"exchange -> bridge -> Redis -> {len(figures.reports)} processes   {figures.elapsed_s:.0f} s"
    table = Table("process", "pid", "events", "per second", "from exchange", "from bridge", title=title,
                  title_justify="left")  # fmt: skip
    for role, report in figures.reports.items():
        table.add_row(
            role, str(figures.pids[role]), f"{report['events']:,}", f"{figures.rates[role]:.0f}",
            _latency(report["from_exchange"]), _latency(report["from_bridge"]),
        )  # fmt: skip
    return table


_UP: Final = "green"
_DOWN: Final = "red"


def _color(price: str, before: str | None) -> str:
    if before is None or float(price) == float(before):
        return ""
    return _UP if float(price) > float(before) else _DOWN


def _latency(percentiles: list[float]) -> str:
    return f"p50 {percentiles[0]:.1f} p99 {percentiles[1]:.1f} ms" if percentiles else ""


def show_summary(checks: list[Check]) -> None:
    """Print what was compared."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print("\nwhat each process received:")
    for check in checks:
        console.print(f"  {'[green]ok  [/]' if check.passed else '[red]FAIL[/]'} {check.name}: {check.found}")
