from __future__ import annotations

from agentexchange._group.remembered import Remembered


def test_the_newest_are_known_and_the_oldest_forgotten() -> None:
    remembered = Remembered(most=3)
    remembered.add([("log", b"1-0"), ("log", b"2-0")])
    remembered.add([("log", b"3-0"), ("log:retry", b"1-0")])
    assert ("log", b"1-0") not in remembered
    assert all(entry in remembered for entry in (("log", b"2-0"), ("log", b"3-0"), ("log:retry", b"1-0")))
