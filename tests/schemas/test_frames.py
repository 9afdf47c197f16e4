"""Fields that know their frame: a dict in all else."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from agentexchange_schemas.frames import FramedFields, frame_in

FRAME = '{"channel":"orders","data":{"order_id":"1"}}'
fields = st.dictionaries(st.text(), st.none() | st.text() | st.integers(-(2**63), 2**64 - 1), max_size=5)


@given(fields)
def test_they_compare_and_pack_as_the_dict_that_they_are(plain: dict[str, object]) -> None:
    framed = FramedFields(plain, FRAME)
    assert framed == plain
    assert plain == framed
    assert msgpack.packb(framed) == msgpack.Packer().pack(plain)
    assert frame_in(framed) == FRAME
    assert frame_in(plain) is None


@given(fields, fields)
def test_what_is_added_to_them_leaves_the_frame(plain: dict[str, object], added: dict[str, object]) -> None:
    framed = FramedFields(plain, FRAME)
    more = framed | added
    assert (more, frame_in(more)) == (plain | added, FRAME)
    assert framed == plain


def test_a_copy_is_of_the_fields_alone() -> None:
    framed = FramedFields({"order_id": "1"}, FRAME)
    assert type(framed.copy()) is type(dict(framed)) is dict
