from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_bridge.lease import Grant, Lease, LeaseState, Refused, read_acquired
from agentexchange_schemas.envelope import log_id

TTL = 3.0


def held(asked_at: float = 0.0, epoch: int = 7) -> Lease:
    lease = Lease("w1", TTL)
    lease.granted(epoch, asked_at)
    return lease


def test_a_lease_begins_in_standby() -> None:
    assert Lease("w1", TTL).state(0.0) is LeaseState.STANDBY


def test_a_granted_lease_is_held_for_its_time_to_live_counted_from_the_question() -> None:
    lease = held(asked_at=10.0)
    assert lease.state(10.0 + TTL - 0.001) is LeaseState.HELD
    assert lease.state(10.0 + TTL) is LeaseState.DOUBTFUL


def test_a_stopped_process_that_wakes_is_in_doubt_and_stays_so_without_a_new_grant() -> None:
    lease = held()
    assert lease.state(100.0) is LeaseState.DOUBTFUL
    lease.renewed(100.0)
    assert lease.state(100.0) is LeaseState.DOUBTFUL
    lease.granted(8, 100.0)
    assert lease.state(100.0) is LeaseState.HELD
    assert lease.owner == "w1/8"


def test_renewals_carry_a_lease_on() -> None:
    lease = held()
    for second in range(1, 20):
        lease.renewed(float(second))
        assert lease.state(second + 1.0) is LeaseState.HELD


def test_doubt_is_not_for_a_worker_that_stands_by() -> None:
    lease = Lease("w1", TTL)
    lease.doubted()
    assert lease.state(0.0) is LeaseState.STANDBY


def test_a_lost_lease_remembers_its_epoch() -> None:
    lease = held(epoch=9)
    lease.lost()
    assert lease.state(0.0) is LeaseState.STANDBY
    assert lease.epoch == 9


@given(st.lists(st.tuples(st.sampled_from(["granted", "renewed", "doubted", "lost"]), st.floats(0, 10)), max_size=30))
def test_nothing_but_a_grant_makes_an_owner(steps: list[tuple[str, Any]]) -> None:
    lease = Lease("w1", TTL)
    now, granted_since_loss = 0.0, False
    for action, wait in steps:
        now += wait
        was = lease.state(now)
        match action:
            case "granted":
                lease.granted(1, now)
                granted_since_loss = True
            case "renewed":
                lease.renewed(now)
            case "doubted":
                lease.doubted()
            case "lost":
                lease.lost()
                granted_since_loss = False
        state = lease.state(now)
        if state is LeaseState.HELD:
            assert action == "granted" or was is LeaseState.HELD
        assert (state is LeaseState.STANDBY) is not granted_since_loss


def test_a_refusal_names_the_holder() -> None:
    assert read_acquired([0, b"w2/12", 2500]) == Refused("w2/12", 2500)


def test_a_grant_is_read_whole() -> None:
    seq = [b"#id", b"ab", b"#batch", b"w2:7", b"#r", b"1700000000000123", b"ticker:BTCUSDT", b"41"]
    reply = [1, 12, 11, b"1700000000000-123", b"0-0", seq, [b"state", b"live"]]
    assert read_acquired(reply) == Grant(
        epoch=12,
        stored_epoch=11,
        log_floor_us=1700000000000123,
        log_ids=("1700000000000-123", "0-0"),
        log_name="ab",
        batch="w2:7",
        received_us=1700000000000123,
        seqs={"ticker:BTCUSDT": 41},
        status={"state": "live"},
    )


@pytest.mark.parametrize(
    "entry_id", ["1700000000000-5", "1700000000000-999", "1700000000000-1000", "1700000000000-77777"]
)
def test_the_next_r_above_the_floor_gives_an_id_above_a_foreign_entry(entry_id: str) -> None:
    grant = read_acquired([1, 2, 1, entry_id.encode(), b"0-0", [], []])
    assert isinstance(grant, Grant)
    ours = tuple(map(int, log_id(grant.log_floor_us + 1).split("-")))
    assert ours > tuple(map(int, entry_id.split("-")))
