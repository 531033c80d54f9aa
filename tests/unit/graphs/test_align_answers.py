# SPDX-License-Identifier: Apache-2.0
"""What people answer teaches the next alignment; an encoder finds what names do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plait.errors import BadInput
from plait.graphs.align import Options, align
from plait.graphs.align.answers import answers_of, read_answers
from plait.graphs.align.encoding import encoder_from
from plait.graphs.answering import judged
from plait.graphs.graph import Builder, Graph, make
from plait.graphs.identity import claim
from plait.graphs.merging import merge

from .test_align import cities


def right_of(left: Graph, right: Graph, gold: dict[str, str], options: Options) -> int:
    asked = {a for a, _ in options.confirmed}
    found = {one.left: one.right for one in align(left, right, options).matches()}
    return sum(found.get(a) == b for a, b in gold.items() if a not in asked)


def test_a_few_answers_find_what_nothing_else_tells() -> None:
    """Every name is foreign, predicates and relations are called otherwise."""
    left, right, gold = cities(foreign=60)
    assert right_of(left, right, gold, Options()) <= 3
    known = dict(list(gold.items())[:50:5])
    taught = Options(confirmed=frozenset(known.items()))
    assert right_of(left, right, gold, taught) == 50


def test_answers_in_the_graphs_are_known_to_the_next_run() -> None:
    left, right, gold = cities(foreign=60)
    known = list(gold.items())[:50:5]
    united = merge(None, [left, right]).graph
    answered = judged(united, [(a, b, True) for a, b in known], by="ann", at="2026-01-01")
    answered = judged(answered, [("l001", gold["l002"], False)], by="bob", at="2026-01-01")
    claims = make(identities=answered.identities.to_pylist())
    for graph in (merge(None, [left, claims]).graph, replace(left, identities=claims.identities)):
        found = align(graph, right)
        assert found.options.confirmed == frozenset(known)
        assert found.options.rejected == {("l001", gold["l002"])}
        asked = {(one.match.left, one.match.right) for one in found.questions(100)}
        assert not asked & {*known, ("l001", gold["l002"])}
        assert sum(gold[one.left] == one.right for one in found.matches()) == 60


def test_of_people_who_contradict_the_most_are_right_and_machines_do_not_vote() -> None:
    rows = [
        claim("a", "b", "same", source="person:ann"),
        claim("a", "b", "different", source="person:bob"),
        claim("c", "d", "different", source="person:ann"),
        claim("c", "d", "same", source="align"),
        claim("e", "f", "same", source="align"),
    ]
    assert answers_of(make(identities=rows)) == {("c", "d"): False}


def test_an_answer_is_about_whoever_stands_for_an_entity() -> None:
    left, right = Builder(), Builder()
    for name in ("z", "y"):
        left.label(name, f"name {name}", source="x")
    left.add("identities", claim("y", "z", source="x"))
    right.label("q", "else", source="y")
    found = align(left.build(), right.build(), Options(confirmed=frozenset({("z", "q")})))
    assert [(one.left, one.right) for one in found.matches()] == [("y", "q")]


def test_answers_as_a_table(tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    table.write_text('a,b,same\n"l,1",r1,yes\nl2,r2,No\n\n')
    assert read_answers(table) == {("l,1", "r1"): True, ("l2", "r2"): False}
    table.write_text("l1,r1,yes\nl2,r2,perhaps\n")
    with pytest.raises(BadInput, match="line 2: it must be two entities and yes or no"):
        read_answers(table)
    with pytest.raises(BadInput, match="There is no"):
        read_answers(tmp_path / "none.csv")


def test_an_encoder_finds_translations() -> None:
    """Vectors that know two languages, over names that share no letter."""
    words = ["water", "fire", "earth", "wind", "stone", "river", "forest", "snow", "sand", "star"]
    foreign = ["uqq", "xpp", "zkk", "vjj", "ghh", "kyy", "cbb", "hzz", "jxx", "qvv"]
    left, right = Builder(), Builder()
    for place, (one, other) in enumerate(zip(words, foreign, strict=True)):
        left.label(f"l{place}", one, source="x")
        right.label(f"r{place}", other, source="y")
    meaning = {text: place for held in (words, foreign) for place, text in enumerate(held)}

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.eye(len(words), dtype=np.float32)[[meaning[one] for one in texts]]

    graphs = left.build(), right.build()
    assert len(align(*graphs).matches()) <= 1
    found = align(*graphs, Options(encoder=encode))
    assert "meaning" in found.kinds
    ranked = found.ranked()
    best = {a: max(ranked[a], key=lambda one: one[1])[0] for a in ranked}
    assert best == {f"l{place}": f"r{place}" for place in range(len(words))}


def test_an_encoder_of_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(BadInput, match="holds no model"):
        encoder_from(tmp_path)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    letters += [f"##{one}" for one in "abcdefghij"]
    (tmp_path / "vocab.txt").write_text("\n".join(letters))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path)
    encode = encoder_from(tmp_path)
    names = ["a", "abcdefghij", "bad", "cafe", "a"]
    made = encode(names)
    assert made.shape == (5, 16)
    assert np.allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)
    # Neither the order nor what stands beside a name changes its vector.
    assert np.allclose(made[1], encode(["abcdefghij"])[0], atol=1e-5)
    assert np.allclose(made[0], made[4], atol=1e-6)
    assert not np.allclose(made[0], made[1], atol=1e-2)
