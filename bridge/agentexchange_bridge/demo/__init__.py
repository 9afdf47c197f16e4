"""The demonstration: one upstream feed for three processes through Redis, checked event by event.

``_processes`` owns what is started, ``consumer`` is one of the three, ``_stage`` starts everything in order, ``_show``
runs and watches it, ``_view`` draws it, ``_compare`` judges what each process received.
"""

from __future__ import annotations

from ._processes import DemoError
from ._show import DemoOptions, run_demo

__all__ = ["DemoError", "DemoOptions", "run_demo"]
