"""The figures of a run: a table on the terminal and a JSON file."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

OUT = Path("bench-results/bench.json")


@dataclass
class Row:
    """One figure: what was measured, in which unit, and the most it should be."""

    stage: str
    what: str
    value: float
    unit: str = "µs CPU/event"
    target: str = ""


@dataclass
class Report:
    """All rows of a run, and the ratios between them."""

    rows: list[Row] = field(default_factory=list)

    def add(self, stage: str, what: str, value: float, unit: str = "µs CPU/event", target: str = "") -> None:
        """Add one figure and show it at once, so that a long run shows that it lives."""
        self.rows.append(Row(stage, what, round(value, 3), unit, target))
        Console(stderr=True).print(f"  {stage}: {what}: {value:,.2f} {unit}", style="dim")

    def ratio(self, stage: str, what: str, of: str, to: str, target: str = "") -> None:
        """Add the ratio of two figures named by their ``what``, if this run has both.

        Ratios hold on a noisy machine, times do not.
        """
        value = {row.what: row.value for row in self.rows}
        if of in value and to in value:
            self.add(stage, what, value[of] / value[to], "ratio", target)

    def difference(self, stage: str, what: str, of: str, to: str, target: str = "") -> None:
        """Add the difference of two figures named by their ``what``."""
        value = {row.what: row.value for row in self.rows}
        self.add(stage, what, value[of] - value[to], target=target)

    def show(self) -> None:
        """Print the table and write the file."""
        table = Table(title="CPU per event, measured by the operating system")
        for name in ("stage", "what", "value", "unit", "at most"):
            table.add_column(name, justify="right" if name == "value" else "left")
        for row in self.rows:
            table.add_row(row.stage, row.what, f"{row.value:,.2f}", row.unit, row.target)
        Console(width=120).print(table)
        OUT.parent.mkdir(exist_ok=True)
        machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
        OUT.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in self.rows]}, indent=2))
        Console().print(f"written to {OUT}")
