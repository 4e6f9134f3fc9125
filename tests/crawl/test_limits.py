"""Bodies are unpacked as far as they are harmless."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.crawl.limits import Refused, unpacked

MOST = 1 << 22


@given(st.binary(max_size=2000))
def test_what_is_packed_comes_out_as_it_was(body: bytes) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body), "identity": body, "": body}
    packed["gzip, identity"] = gzip.compress(body)
    for encoding, data in packed.items():
        assert unpacked(data, encoding, MOST) == body
    assert unpacked(raw.compress(body) + raw.flush(), "deflate", MOST) == body
    assert unpacked(gzip.compress(body) + gzip.compress(body), "gzip", MOST) == body * 2
    assert unpacked(gzip.compress(gzip.compress(body)), "gzip, gzip", MOST) == body


@pytest.mark.parametrize(
    ("body", "encoding", "rule"),
    [
        (gzip.compress(bytes(3 << 20)), "gzip", "decompression_ratio"),
        (gzip.compress(gzip.compress(bytes(3 << 20))), "gzip, gzip", "decompression_ratio"),
        (gzip.compress(b"".join(number.to_bytes(4, "big") for number in range(1 << 21))), "gzip", "too_large"),
        (gzip.compress(b"cut short")[:-5], "gzip", "bad_encoding"),
        (b"<html>", "gzip", "bad_encoding"),
        (b"x", "zstd", "bad_encoding"),
    ],
    ids=["bomb", "bomb in a bomb", "large", "cut", "a lie", "not asked for"],
)
def test_what_harms_is_refused(body: bytes, encoding: str, rule: str) -> None:
    with pytest.raises(Refused) as refused:
        unpacked(body, encoding, MOST)
    assert refused.value.rule == rule
