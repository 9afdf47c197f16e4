from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidStatus,
    InvalidUpgrade,
    InvalidURI,
    SecurityError,
)
from websockets.frames import Close
from websockets.http11 import Response

from agentexchange.upstream._verdict import Outcome, SessionFault, verdict


def status(code: int) -> InvalidStatus:
    return InvalidStatus(Response(code, "", Headers()))


def closed(code: int) -> ConnectionClosedError:
    return ConnectionClosedError(Close(code, "why"), None)


def cut(message: str) -> InvalidMessage:
    exc = InvalidMessage(message)
    exc.__cause__ = EOFError()
    return exc


@pytest.mark.parametrize(
    ("exc", "outcome", "code", "status_code"),
    [
        (status(401), Outcome.AUTH, None, 401),
        (status(403), Outcome.AUTH, None, 403),
        (closed(1008), Outcome.AUTH, 1008, None),
        (closed(4001), Outcome.AUTH, 4001, None),
        (closed(4401), Outcome.AUTH, 4401, None),
        (closed(1012), Outcome.RETRY, 1012, None),
        (closed(1009), Outcome.RETRY, 1009, None),
        (ConnectionClosedOK(Close(1000, ""), Close(1000, ""), rcvd_then_sent=True), Outcome.RETRY, 1000, None),
        (ConnectionClosedError(None, None), Outcome.RETRY, None, None),
        (ConnectionClosedError(None, Close(1009, "")), Outcome.RETRY, 1009, None),
        *((status(code), Outcome.RETRY, None, code) for code in (408, 425, 429, 500, 502, 503, 504)),
        *((status(code), Outcome.FINAL, None, code) for code in (200, 400, 404, 426)),
        (InvalidMessage("did not receive a valid HTTP response"), Outcome.FINAL, None, None),
        (cut("did not receive a valid HTTP response"), Outcome.RETRY, None, None),
        (InvalidUpgrade("Upgrade"), Outcome.FINAL, None, None),
        (InvalidURI("ws://h?api_key=hunter2", "bad"), Outcome.FINAL, None, None),
        (SecurityError("more than 10 redirects"), Outcome.FINAL, None, None),
        (InvalidProxy("http://user:hunter2@p", "bad"), Outcome.FINAL, None, None),
        (InvalidProxyMessage("hunter2"), Outcome.RETRY, None, None),
        (ImportError("python-socks"), Outcome.FINAL, None, None),
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), Outcome.FINAL, None, None),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), Outcome.FINAL, None, None),
        (ConnectionRefusedError(111, "refused"), Outcome.RETRY, None, None),
        (socket.gaierror(-2, "Name or service not known"), Outcome.RETRY, None, None),
        (OSError("Multiple exceptions"), Outcome.RETRY, None, None),
        (TimeoutError("timed out during opening handshake"), Outcome.RETRY, None, None),
        (SessionFault("no message for 40 s"), Outcome.RETRY, None, None),
    ],
    ids=repr,
)
def test_the_table(exc: Exception, outcome: Outcome, code: Any, status_code: Any) -> None:
    found = verdict(exc)
    assert found is not None
    assert (found.outcome, found.code, found.status_code) == (outcome, code, status_code)
    assert found.message
    assert "hunter2" not in found.message


def test_a_bug_is_nobodys_network() -> None:
    assert verdict(KeyError("x")) is None
