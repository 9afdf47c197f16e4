"""Files that were made to do harm: every claim is checked before anything is allocated for it."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from agentexchange.errors import RecordingError
from agentexchange.recording import Recording, _directory, _merge
from agentexchange.recording._block import pack_block
from agentexchange.recording._format import BLOCK, INDEX, pack_chunk, pack_header, pack_trailer
from tests.sdk.recording._samples import ACCOUNT, CANDLES, MARKET, read, tick, ticks, write

if TYPE_CHECKING:
    from pathlib import Path

HEAD = {
    "scope": "m0", "log": "log", "log_id": "", "count": 1, "first": 1, "last": 1,
    "topics": zlib.compress(b"ticker:A"), "method": 1, "raw": 100,
}  # fmt: skip


def file_of(path: Path, *chunks: bytes) -> Path:
    path.write_bytes(pack_header({}) + b"".join(chunks))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raw": 2**31}, "claims what cannot be"),
        ({"raw": -1}, "claims what cannot be"),
        ({"count": 10**9}, "claims what cannot be"),
        ({"count": 0}, "claims what cannot be"),
        ({"count": "many"}, "claims what cannot be"),
        ({"first": 2, "last": 1}, "claims what cannot be"),
        ({"last": 2**63}, "claims what cannot be"),
        ({"scope": b"m0"}, "claims what cannot be"),
        ({"scope": "m" * 1000}, "claims what cannot be"),
        ({"topics": None}, "claims what cannot be"),
        ({"topics": b"junk"}, "topics cannot be read"),
        ({"topics": zlib.compress(b"x\n" * 20_000)}, "more than 16384 topics"),
        ({"topics": zlib.compress(b"x" * 50_000_000)}, "more than 16384 topics"),
        ({"method": 9}, "compression 9 is not one this release knows: update agentexchange"),
    ],
)
def test_a_head_that_claims_what_cannot_be(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = file_of(tmp_path / "t.axlog", pack_chunk(BLOCK, HEAD | change, b"x"))
    with pytest.raises(RecordingError, match=message) as caught:
        Recording(path)
    assert caught.value.field == "block head"


def test_a_head_without_a_field(tmp_path: Path) -> None:
    head = {name: value for name, value in HEAD.items() if name != "count"}
    with pytest.raises(RecordingError, match="has no 'count'"):
        Recording(file_of(tmp_path / "t.axlog", pack_chunk(BLOCK, head, b"x")))


def test_a_chunk_that_claims_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = file_of(tmp_path / "t.axlog", b"BLCK" + b"\xff" * 12)
    with pytest.raises(RecordingError, match="above the format's bounds"):
        Recording(path)


def test_a_bomb_is_not_inflated_beyond_what_its_head_claims(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(200_000_000))
    path = file_of(tmp_path / "t.axlog", pack_chunk(BLOCK, HEAD, bomb))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="not as long as its head says"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xff\xff\xff" + b"x" * 96, "lengths in the block do not add up"),
        (b"\x60\0\0\0" + b"x" * 96, "holds what is no envelope"),
    ],
)
def test_a_body_that_is_not_what_its_head_says(tmp_path: Path, raw: bytes, message: str) -> None:
    path = file_of(tmp_path / "t.axlog", pack_chunk(BLOCK, HEAD, zlib.compress(raw)))
    with pytest.raises(RecordingError, match=message):
        read(path)


def test_a_block_that_is_older_than_its_lane(tmp_path: Path) -> None:
    chunks = [pack_block(MARKET, [tick(number)])[1] for number in (2, 1)]
    with pytest.raises(RecordingError, match="older than the one before it in its lane"):
        Recording(file_of(tmp_path / "t.axlog", *chunks))


def test_a_block_whose_events_are_out_of_order_is_found_where_lanes_overlap(tmp_path: Path) -> None:
    chunks = [pack_block(MARKET, [tick(1), tick(5), tick(3), tick(9)])[1], pack_block(CANDLES, [tick(4)])[1]]
    with pytest.raises(RecordingError, match="events are out of order"):
        read(file_of(tmp_path / "t.axlog", *chunks))


def _index(path: Path, change: dict[str, Any]) -> Path:
    """A file of two blocks under an index with something else in it."""
    write(path, [(MARKET, ticks(3)), (ACCOUNT, ticks(3))])
    with Recording(path) as recording:
        directory = recording._directory
    chunk = directory.pack_index()
    assert chunk is not None
    head_bytes = int.from_bytes(chunk[4:8], "little")
    content = msgpack.unpackb(zlib.decompress(chunk[16 + head_bytes :])) | change
    raw = msgpack.packb(content)
    blocks = path.read_bytes()[: directory.end]
    path.write_bytes(blocks + pack_chunk(INDEX, {"raw": len(raw)}, zlib.compress(raw)) + pack_trailer(directory.end))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": []},
        {"blocks": [[0, 10, 0, 1, 1, 1, b""]]},
        {"blocks": [[63, "x", 0, 1, 1, 1, b""]]},
        {"blocks": [[63, 10, 5, 1, 1, 1, b""]]},
        {"blocks": 7},
        {"lanes": None},
        {"topics": 5},
    ],
)
def test_an_index_that_does_not_cover_the_blocks(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match="index") as caught:
        Recording(_index(tmp_path / "t.axlog", change))
    assert caught.value.field in ("index body", "index head")


def test_an_index_that_names_another_scope_gives_no_event_of_it(tmp_path: Path) -> None:
    path = _index(tmp_path / "t.axlog", {"lanes": [list(ACCOUNT), list(MARKET)]})
    with pytest.raises(RecordingError, match="not the one the index names"):
        read(path)


def test_a_directory_beyond_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, [tick(number)]) for number in range(20)])
    monkeypatch.setattr(_directory, "MAX_DIRECTORY_BYTES", 4000)
    with pytest.raises(RecordingError, match="more blocks than this release reads"):
        Recording(path)


def test_blocks_that_overlap_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.axlog", [(lane, ticks(50)) for lane in (MARKET, CANDLES, ACCOUNT)])
    monkeypatch.setattr(_merge, "MAX_OPEN_BYTES", 8000)
    with pytest.raises(RecordingError, match="overlap in time: read fewer scopes at once"):
        read(path)
    assert read(path, scopes=[ACCOUNT.scope]) == ticks(50)


def test_bytes_behind_the_index(tmp_path: Path) -> None:
    path = write(tmp_path / "t.axlog", [(MARKET, ticks(3))])
    path.write_bytes(path.read_bytes() + bytes(range(100)))
    with pytest.raises(RecordingError, match="bytes follow the index"):
        Recording(path)
