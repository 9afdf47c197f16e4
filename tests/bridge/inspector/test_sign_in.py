from __future__ import annotations

from pydantic import SecretStr

from agentexchange_bridge.inspector.sign_in import MIN_TOKEN, SESSION_S, Attempts, SignIn, new_token

TOKEN = "s3cret-token-of-a-test"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_token_opens_a_session_that_ends() -> None:
    clock = Clock()
    sign_in = SignIn(SecretStr(TOKEN), clock=clock)
    session = sign_in.open(TOKEN, "10.0.0.1")
    assert session is not None
    assert TOKEN not in session
    assert sign_in.is_open(session)
    assert not sign_in.is_open("")
    clock.now += SESSION_S + 1
    assert not sign_in.is_open(session)


def test_a_wrong_token_opens_nothing() -> None:
    sign_in = SignIn(SecretStr(TOKEN), clock=Clock())
    for wrong in ("", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "\ud800", "ü" * 20):
        assert sign_in.open(wrong, wrong[:3]) is None


def test_an_ended_session_is_closed() -> None:
    sign_in = SignIn(SecretStr(TOKEN), clock=Clock())
    session = sign_in.open(TOKEN, "a")
    assert session is not None
    sign_in.close(session)
    sign_in.close(session)
    assert not sign_in.is_open(session)


def test_sessions_are_bounded_and_the_oldest_goes() -> None:
    sign_in = SignIn(SecretStr(TOKEN), clock=Clock())
    sessions = [sign_in.open(TOKEN, "a") or "" for _ in range(300)]
    assert not sign_in.is_open(sessions[0])
    assert sign_in.is_open(sessions[-1])


def test_guessing_is_slowed_for_one_address_and_not_for_others() -> None:
    clock = Clock()
    attempts = Attempts(each=3, all_=100, clock=clock)
    for _ in range(3):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.failed("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == 61
    assert attempts.wait_s("10.0.0.2") == 0
    clock.now += 61
    assert attempts.wait_s("10.0.0.1") == 0


def test_guessing_from_many_addresses_is_slowed_for_all() -> None:
    clock = Clock()
    attempts = Attempts(each=3, all_=10, clock=clock)
    for number in range(10):
        attempts.failed(f"10.0.0.{number}")
        clock.now += 1
    assert attempts.wait_s("10.0.1.1") == 51


def test_addresses_are_forgotten_before_they_fill_memory() -> None:
    attempts = Attempts(each=3, all_=10, clock=Clock())
    for number in range(5000):
        attempts.failed(str(number))
    assert len(attempts._by_address) <= 1024


def test_a_made_token_is_long_and_never_the_same() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 2 * MIN_TOKEN
