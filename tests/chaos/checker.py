"""The verdict on one run: pure, from a `History` to `Findings`.

Kinds of violation:

- of the log: ``misplaced`` ``epoch_fell`` ``seq_hole`` ``written_twice`` ``written_out_of_order`` ``key_differs``
- of the way from upstream: ``unwritten`` (neither in the log nor told) ``phantom`` (never sent) ``needless_takeover``
- of consumers: ``lost`` (neither delivered nor told) ``unrecovered`` (told missing, though the log holds it and the
  recovery bound does not excuse it) ``mute`` ``doubled`` ``out_of_order`` ``mislabelled`` ``unlogged`` ``foreign``
  ``false_gap`` ``untold`` and ``told_twice`` (notices) ``unrecognised`` (a wiped log) ``ended``

Each module of checks names its leniencies in its head; there are no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .check_consumer import Truth, check_consumers
from .check_log import check_log
from .check_shared import check_groups, check_positions
from .check_upstream import check_takeovers, check_unwritten
from .findings import Findings

if TYPE_CHECKING:
    from .history import History

__all__ = ["check"]


def check(history: History) -> Findings:
    """Compare what was sent, what was written and what was delivered."""
    findings = Findings()
    for scope, log in history.logs.items():
        check_log(scope, log, findings)
    check_unwritten(history, findings)
    check_takeovers(history, findings)
    truth = Truth(history)
    check_consumers(history, truth, findings)
    check_groups(history, truth, findings)
    check_positions(history, truth, findings)
    return findings
