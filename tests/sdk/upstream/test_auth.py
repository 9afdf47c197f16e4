from __future__ import annotations

from agentexchange.upstream import AuthJudge, AuthPolicy


def test_strict_gives_up_a_key_that_never_worked_at_once() -> None:
    verdict = AuthJudge(AuthPolicy.STRICT).refused(0.0)
    assert verdict.final
    assert verdict.told


def test_strict_confirms_against_a_key_that_has_worked() -> None:
    judge = AuthJudge(AuthPolicy.STRICT)
    judge.worked()
    verdicts = [judge.refused(now) for now in (0.0, 1.0, 3.0, 7.0)]
    assert [verdict.final for verdict in verdicts] == [False, False, False, True]
    assert [verdict.told for verdict in verdicts] == [False, False, False, True]


def test_strict_counts_refusals_in_a_row_only() -> None:
    judge = AuthJudge(AuthPolicy.STRICT)
    judge.worked()
    for now in range(3):
        assert not judge.refused(now).final
    judge.worked()
    assert not judge.refused(10).final


def test_patient_tells_after_three_refusals_over_ten_seconds_and_never_ends() -> None:
    judge = AuthJudge(AuthPolicy.PATIENT)
    verdicts = [judge.refused(now) for now in (0, 1, 3, 7, 15, 75, 1e6)]
    assert [verdict.told for verdict in verdicts] == [False, False, False, False, True, True, True]
    assert not any(verdict.final for verdict in verdicts)
    assert [verdict.delay_s for verdict in verdicts] == [None, None, None, None, 60.0, 60.0, 60.0]


def test_patient_needs_three_refusals_however_far_apart() -> None:
    judge = AuthJudge(AuthPolicy.PATIENT)
    assert [judge.refused(now).told for now in (0, 60, 120)] == [False, False, True]
