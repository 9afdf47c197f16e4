from __future__ import annotations

from typing import TYPE_CHECKING

from agentexchange_schemas import FeedState, FeedStatus
from tests.chaos._stories import when
from tests.chaos.consumer import Notebook, read_incarnation
from tests.chaos.history import Call, Told
from tests.chaos.roster import ROSTERS, Spec

if TYPE_CHECKING:
    from pathlib import Path

SPEC = Spec("one", ("ticker:all", "orders"), mode="group", group="crew", is_sync=True)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    notebook = Notebook(path)
    status = FeedStatus(scope="m0", state=FeedState.BLIND, since=when(1))
    notebook.write("r")
    notebook.write("e", "orders", "orders", 3, 4, 5, "live")
    notebook.write("f", status.to_fields())
    notebook.write("s", {"ticker:all": 7})
    notebook.write("x", "ConnectionError: no")
    found = read_incarnation(path, SPEC, 2)
    assert found.ready_us > 0
    assert found.calls == [Call(found.calls[0].at_us, "orders", "orders", 3, 4, 5, "live")]
    assert found.told == [Told(found.told[0].at_us, status)]
    assert found.conflated == {"ticker:all": 7}
    assert found.failure == "ConnectionError: no"
    assert (found.consumer, found.number, found.mode, found.name) == ("one", 2, "group", "crew")
    assert found.topics == {"ticker:all": ("ticker:all",), "orders": ("orders",)}


def test_a_line_that_death_cut_off_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    notebook = Notebook(path)
    notebook.write("r")
    notebook.write("e", "orders", "orders", 3, 4, 5, "live")
    path.write_bytes(path.read_bytes() + b'["e",18000000')
    assert len(read_incarnation(path, SPEC, 1).calls) == 1


def test_one_that_never_wrote(tmp_path: Path) -> None:
    found = read_incarnation(tmp_path / "none.jsonl", SPEC, 1)
    assert (found.ready_us, found.calls) == (0, [])


def test_a_spec_is_an_argument() -> None:
    assert Spec.from_json(SPEC.to_json()) == SPEC
    for roster in ROSTERS.values():
        assert len({spec.name for spec in roster}) == len(roster)
