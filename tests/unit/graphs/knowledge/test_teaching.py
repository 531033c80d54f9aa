# SPDX-License-Identifier: Apache-2.0
"""Questions that leave entities out, rules as a loss, and tiny models taught each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plait.errors import BadInput, Cancelled, Conflict
from plait.graphs.graph import Builder, Graph
from plait.graphs.knowledge.questions import drawn_anew, material
from plait.graphs.knowledge.rules import NOT_BOTH, SAME, Pairs, Rule, penalty, rules_of
from plait.recipes.graph import GraphFile, Predicate

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from plait.graphs.knowledge.masked import load_masked, masked_loss, repeated, train_masked  # noqa: E402
from plait.graphs.knowledge.teaching import Options, sentences, teach  # noqa: E402
from plait.graphs.learn.training import Options as EmbeddingOptions  # noqa: E402
from plait.graphs.learn.training import embed  # noqa: E402
from plait.graphs.learn.triples import split, triples  # noqa: E402
from plait.pretrained import load_classifier, load_own  # noqa: E402

TOWNS, REGIONS = 40, 4
FILE = GraphFile(
    predicates={
        "region": Predicate(datatype="entity", functional=True),
        "borders": Predicate(datatype="entity", symmetric=True, disjoint=("region",)),
        "holds": Predicate(datatype="entity", inverse="region"),
        "size": Predicate(datatype="integer"),
    }
)


def towns(near: int = 2) -> Graph:
    """Return towns of four regions that border towns of their own region."""
    made = Builder(FILE)
    for place in range(TOWNS):
        made.label(f"t{place}", f"Town{place}", language="en", source="s")
        region = f"r{place % REGIONS}"
        made.label(region, f"Region{place % REGIONS}", language="en", source="s")
        made.statement(f"t{place}", "region", object=region, source="s")
        made.statement(f"t{place}", "size", value=str(1000 + place), source="s")
        for step in range(1, near + 1):
            other = f"t{(place + REGIONS * step) % TOWNS}"
            made.statement(f"t{place}", "borders", object=other, source="s")
            made.statement(other, "borders", object=f"t{place}", source="s")
    return made.build()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny masked language model that knows the towns' names as words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    held = material(towns())
    words = sorted(
        {
            w
            for text in sentences(held)
            for w in text.lower().replace(".", " .").replace(",", " ,").split()
        }
    )
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate([*marks, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base") / "model"
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_questions_leave_entities_out() -> None:
    held = material(towns())
    assert "size" not in held.relations
    aside = held.held_out
    both = aside | held.watched
    assert aside and held.watched and not aside & held.watched
    anew = drawn_anew(held, 3 * len(held.training), np.random.default_rng(1))
    assert not any({q.row[0], q.row[2]} & both for q in (*held.training, *anew))
    assert not any({q.row[0], q.row[2]} & aside for q in held.validation)
    assert all(q.group in aside for q in held.testing)
    assert all(q.group in held.watched for q in held.validation)
    assert len({q.row for q in anew if not q.true}) > len(held.training) / 2
    assert sum(q.true for q in anew) * 2 == len(anew)
    known = {tuple(row) for row in held.known.tolist()}
    asked = {q.row for q in (*held.training, *held.validation, *held.testing) if q.true}
    assert asked and not asked & known
    # neither is the statement known from its other end
    borders = held.relations.index("borders")
    assert not {(o, p, s) for s, p, o in asked if p == borders} & known
    # half of what is said of the held-out entities stays known
    assert any({s, o} & aside for s, _, o in known)
    facts = {tuple(row) for row in held.facts.tolist()}
    for question in (*held.training, *held.validation, *held.testing, *anew):
        assert (question.row in facts) == question.true
        assert held.names[question.row[0]] in question.text
    assert sum(q.true for q in held.testing) * 2 == len(held.testing)
    again = material(towns())
    assert [q.text for q in again.testing] == [q.text for q in held.testing]
    few = Builder()
    few.label("a", "A", source="s")
    few.statement("a", "kind", value="b", source="s")
    with pytest.raises(BadInput, match="at least are needed"):
        material(few.build())


def test_rules_of_the_file_and_their_pairs() -> None:
    held = material(towns())
    number = {name: place for place, name in enumerate(held.relations)}
    borders, region = number["borders"], number["region"]
    rules = rules_of(FILE, held.relations)
    assert rules == [
        Rule("disjoint", borders, region),
        Rule("functional", region, region),
        Rule("symmetric", borders, borders),
    ]
    with_inverse = rules_of(FILE, ["holds", "region"])
    assert Rule("inverse", 0, 1) in with_inverse
    pairs = Pairs(held, rules, np.random.default_rng(0)).draw(60)
    assert {says for _, _, says in pairs} == {SAME, NOT_BOTH}
    assert all(first != second for first, second, says in pairs if says == NOT_BOTH)
    with pytest.raises(BadInput, match="no rule"):
        rules_of(GraphFile(), held.relations)


def test_the_loss_is_what_the_rules_cost() -> None:
    log = lambda p: torch.log(torch.tensor([[1 - p, p]]))  # noqa: E731
    assert float(penalty(log(0.8), log(0.8), [SAME])) == 0
    cost = float(penalty(log(0.8), log(0.2), [SAME]))
    assert cost == pytest.approx(np.log(4), abs=1e-5)
    assert float(penalty(log(0.3), log(0.4), [NOT_BOTH])) == 0
    assert float(penalty(log(0.9), log(0.8), [NOT_BOTH])) == pytest.approx(np.log(4.5), abs=1e-5)


def test_masked_words_are_learned(base: Path) -> None:
    held = material(towns())
    model, tokenizer = load_masked(base)
    asked = [one.text for one in held.testing if one.true]
    before = masked_loss(model.eval(), tokenizer, asked)
    train_masked(model, tokenizer, sentences(held), steps=60, learning_rate=3e-3, threads=1)
    assert masked_loss(model, tokenizer, asked) < 0.7 * before
    order = repeated(3, 7, np.random.default_rng(0))
    assert sorted(order[:3]) == sorted(order[3:6]) == [0, 1, 2]
    with pytest.raises(BadInput, match="no sentences"):
        train_masked(model, tokenizer, [], steps=1)


def test_vectors_of_entities_tell_what_the_text_cannot(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("pykeen")
    graph = towns(near=4)
    few: dict[str, Any] = {"steps": 120, "batch_size": 32, "learning_rate": 5e-3, "threads": 1}
    vectors = EmbeddingOptions("transe", 60, 16, batch_size=32, every=10, threads=1)
    told = teach(graph, base, tmp_path / "e", Options("entities", embeddings=vectors, **few))
    alone = teach(graph, base, tmp_path / "p", Options("plain", **few))
    assert told["accuracy"] > alone["accuracy"] + 0.1
    model, _ = load_own(tmp_path / "e")
    assert [float(one.gate.detach()) for one in model.attentions] == pytest.approx(told["gates"])
    load_classifier(tmp_path / "p")
    with pytest.raises(Conflict):
        teach(graph, base, tmp_path / "e", Options("plain", **few))


def test_embeddings_of_one_s_own_are_attended_to(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("pykeen")
    graph = towns()
    held = material(graph)
    few: dict[str, Any] = {"steps": 5, "batch_size": 8, "threads": 1}
    found = triples(graph)
    parts = split(found, FILE)
    options = EmbeddingOptions("distmult", 1, 8, batch_size=64, threads=1)
    folder = embed(found, parts, options).save(tmp_path / "vectors")
    own = Options("entities", embeddings=folder, **few)
    told = teach(graph, base, tmp_path / "e", own)
    assert told["embeddings"]["model"] == "distmult"
    trained = {tuple(row) for row in parts.training.tolist()}
    place = {name: one for one, name in enumerate(found.entities)}

    def seen(row: tuple[int, int, int]) -> bool:
        s, o = place[held.entities[row[0]]], place[held.entities[row[2]]]
        kind = found.relations.index(held.relations[row[1]])
        symmetric = held.relations[row[1]] == "borders"
        return (s, kind, o) in trained or (symmetric and (o, kind, s) in trained)

    assert told["seen"]["questions"] == 2 * sum(seen(q.row) for q in held.testing if q.true) > 0
    assert 0 <= told["seen"]["accuracy_of_others"] <= 1
    model, _ = load_own(tmp_path / "e")
    assert model.vectors.shape == (len(found.entities) + 1, 16 // 2)
    others = Builder(FILE)
    for place_ in range(30):
        for step in (1, 2):
            others.statement(f"t{place_}", "borders", object=f"t{(place_ + step) % 30}", source="s")
    few_only = triples(others.build())
    lacking = embed(few_only, split(few_only, FILE), options).save(tmp_path / "lacking")
    with pytest.raises(
        BadInput, match=r"no vectors of 14 of the 44 .*: r0 \(Region0\).*plait graph"
    ):
        teach(graph, base, tmp_path / "x", Options("entities", embeddings=lacking, **few))
    with pytest.raises(BadInput, match="saved there"):
        teach(graph, base, tmp_path / "x", Options("entities", embeddings=tmp_path, **few))
    with pytest.raises(BadInput, match="--how plain has no use"):
        teach(graph, base, tmp_path / "x", Options("plain", embeddings=folder, **few))
    assert not (tmp_path / "x").exists()


def test_rules_and_text_and_what_is_refused(base: Path, tmp_path: Path) -> None:
    graph = towns()
    few: dict[str, Any] = {"steps": 5, "batch_size": 8, "threads": 1}
    told = teach(graph, base, tmp_path / "r", Options("rules", **few))
    assert {one["kind"] for one in told["rules"]} == {"disjoint", "functional", "symmetric"}
    told = teach(graph, base, tmp_path / "t", Options("text", **few))
    assert set(told["masked_loss"]) == {"before", "after"}
    again = teach(graph, tmp_path / "t", tmp_path / "j", Options("plain", **few))
    assert 0 <= again["accuracy"] <= 1
    with pytest.raises(BadInput, match="no masked language model"):
        teach(graph, tmp_path / "j", tmp_path / "x", Options("text", **few))
    with pytest.raises(BadInput, match="there are text"):
        teach(graph, base, tmp_path / "x", Options("songs"))
    with pytest.raises(BadInput, match="--steps"):
        teach(graph, base, tmp_path / "x", Options("plain", steps=0))
    with pytest.raises(Cancelled):
        teach(graph, base, tmp_path / "x", Options("plain", **few), cancelled=lambda: True)
    assert not (tmp_path / "x").exists() and not list(tmp_path.glob(".x*"))
