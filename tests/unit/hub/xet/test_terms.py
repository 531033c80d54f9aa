# SPDX-License-Identifier: Apache-2.0
"""Any range of any file that is made of chunks: the right bytes, and no chunk beside them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import PlaitError
from plait.hub.xet.hashing import chunk_hash
from plait.hub.xet.reconstruction import reconstruct
from plait.hub.xet.terms import FileTerm, pack_terms, plan, unpack_terms
from plait.hub.xet.xorb import Chunk, XorbIndex


@dataclass
class Made:
    """Xorbs by name, their chunks' bytes, and a file over them."""

    xorbs: dict[str, list[bytes]]
    terms: list[FileTerm]

    @property
    def data(self) -> bytes:
        return b"".join(
            b"".join(self.xorbs[term.xorb][term.start : term.stop]) for term in self.terms
        )

    def index(self, name: str) -> XorbIndex:
        chunks, end = [], 0
        for data in self.xorbs[name]:
            end += 8 + len(data)
            chunks.append(Chunk(chunk_hash(data), len(data), end))
        return XorbIndex(tuple(chunks))


@st.composite
def files(draw: st.DrawFn) -> Made:
    xorbs = {
        f"{number:064x}": draw(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=6))
        for number in range(draw(st.integers(1, 3)))
    }
    terms = []
    for _ in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from(sorted(xorbs)))
        start = draw(st.integers(0, len(xorbs[name]) - 1))
        stop = draw(st.integers(start + 1, len(xorbs[name])))
        terms.append(FileTerm(name, start, stop, sum(map(len, xorbs[name][start:stop]))))
    return Made(xorbs, terms)


@given(files())
def test_terms_are_kept_as_they_are(made: Made) -> None:
    assert list(unpack_terms(pack_terms(made.terms))) == made.terms


@settings(deadline=None)
@given(files(), st.data())
def test_a_range_is_its_bytes(made: Made, data: st.DataObject) -> None:
    whole = made.data
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    pieces = list(plan(pack_terms(made.terms), made.index, start, end))
    found = b""
    for piece in pieces:
        chunks = made.xorbs[piece.xorb][piece.start : piece.stop]
        assert piece.size == sum(map(len, chunks))
        found += b"".join(chunks)[piece.skip : piece.skip + piece.take]
        if start < end:
            # Neither the first nor the last chunk could be left out.
            assert piece.skip < len(chunks[0])
            assert piece.skip + piece.take > piece.size - len(chunks[-1])
    assert found == whole[start:end]


@settings(deadline=None)
@given(files(), st.data())
def test_what_clients_are_told_makes_the_range(made: Made, data: st.DataObject) -> None:
    whole = made.data
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    told = reconstruct(pack_terms(made.terms), made.index, start, end)
    joined = b"".join(
        b"".join(made.xorbs[piece.xorb][piece.start : piece.stop]) for piece in told.pieces
    )
    assert joined[told.offset : told.offset + end - start] == whole[start:end]
    needed = {
        (piece.xorb, number) for piece in told.pieces for number in range(piece.start, piece.stop)
    }
    opened = set()
    for xorb, runs in told.runs.items():
        index = made.index(xorb)
        for run in runs:
            assert (run.first, run.end) == (index.start(run.start), index.start(run.stop))
            opened |= {(xorb, number) for number in range(run.start, run.stop)}
        assert all(one.stop < two.start for one, two in pairwise(runs))
    assert opened == needed, "exactly the file's own chunks are opened to its reader"


def test_a_xorb_that_lost_chunks_is_the_servers_fault() -> None:
    made = Made({"0" * 64: [b"abc"]}, [])
    terms = pack_terms([FileTerm("0" * 64, 0, 1, 5)])
    with pytest.raises(PlaitError, match="fsck"):
        list(plan(terms, made.index, 1, 5))
