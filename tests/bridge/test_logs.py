from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agentexchange_bridge.logs import MASK, SecretMask, configure_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "ak_live_s3cret/key+1"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    library = logging.getLogger("websockets.client")
    watched = library.level
    library.setLevel(logging.NOTSET)
    yield
    library.setLevel(watched)
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    for name in ("asyncio", "websockets"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def refuse(message: str) -> None:
    raise ConnectionError(message)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_one_json_object_a_line_with_fields_time_and_logger() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    structlog.get_logger("bridge").info("lease taken", scope="m0", epoch=7)
    (line,) = lines(stream)
    assert line["event"] == "lease taken"
    assert (line["scope"], line["epoch"], line["level"], line["logger"]) == ("m0", 7, "info", "bridge")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(line["timestamp"]))


def test_a_terminal_gets_a_readable_line() -> None:
    stream = Terminal()
    configure_logs(stream=stream)
    structlog.get_logger("bridge").info("lease taken", scope="m0")
    text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert re.search(r"^\d\d:\d\d:\d\d\.\d+ \[info\s*] lease taken", text)
    assert "scope=m0" in text


def test_standard_library_loggers_come_out_the_same_way() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    logging.getLogger("redis.retry").warning("again in %d s", 4)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("again in 4 s", "redis.retry", "warning")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_level_sets_what_is_seen_and_the_libraries_stay_quiet_until_debug(level: str) -> None:
    stream = io.StringIO()
    configure_logs(level=level, stream=stream)  # type: ignore[arg-type]
    for name in ("bridge", "websockets.client"):
        for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger(name).log(number, "seen")
    seen = [(line["logger"], line["level"]) for line in lines(stream)]
    floor = logging.getLevelNamesMapping()[level.upper()]
    assert {found for name, found in seen if name == "bridge"} == {
        word for word in ("debug", "info", "warning", "error") if logging.getLevelNamesMapping()[word.upper()] >= floor
    }
    assert (("websockets.client", "info") in seen) is (level == "debug")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["json", "human"])
def test_a_secret_is_masked_in_message_field_traceback_and_nested_value(stream: io.StringIO) -> None:
    configure_logs(level="debug", stream=stream, secrets=[SecretStr(KEY), SecretStr("pässwörd")])
    log = structlog.get_logger("bridge")
    log.info("connecting with %s", KEY, url=f"ws://x/ws/v1?api_key={quote(KEY, safe='')}", deep={"a": [KEY]})
    logging.getLogger("websockets.client").debug("> GET /ws/v1?api_key=%s HTTP/1.1", KEY)
    try:
        refuse(f"refused: {KEY} pässwörd")
    except ConnectionError:
        log.exception("failed", password="pässwörd")
    text = stream.getvalue()
    assert text.count(MASK) >= 6
    for form in (KEY, quote(KEY, safe=""), quote(KEY), "pässwörd", json.dumps("pässwörd")[1:-1]):
        assert form not in text


def test_a_traceback_shows_no_local_variables() -> None:
    stream = Terminal()
    configure_logs(stream=stream)

    def fails() -> None:
        private = "unregistered-" + "secret"
        raise ValueError(len(private))

    try:
        fails()
    except ValueError:
        structlog.get_logger("bridge").exception("failed")
    assert "ValueError" in stream.getvalue()
    assert "unregistered-secret" not in stream.getvalue()


def test_configuring_twice_does_not_double_the_lines() -> None:
    stream = io.StringIO()
    configure_logs(stream=stream)
    configure_logs(stream=stream)
    structlog.get_logger("bridge").info("once")
    assert len(lines(stream)) == 1


@given(secret=st.text(min_size=4, max_size=40), before=st.text(max_size=10), after=st.text(max_size=10))
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    mask = SecretMask([SecretStr(secret)])
    masked = mask.text(f"{before}{secret}{after}")
    assert MASK in masked
    assert secret not in masked.replace(MASK, "\x00") or secret == "\x00"
    assert secret not in repr(mask) or secret in "SecretMask()"


def test_empty_secrets_mask_nothing() -> None:
    assert SecretMask([SecretStr("")]).text("as it was") == "as it was"
    assert SecretMask([]).text("as it was") == "as it was"
