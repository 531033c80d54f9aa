# SPDX-License-Identifier: Apache-2.0
"""A recipe's tokenizer: whose vocabulary the fused model has, and where embeddings come from."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.errors import BadInput
from plait.recipes.parameters import keys, short
from plait.recipes.references import reference

MAX_TOKENS = 100_000
WORDS = ("base", "union")


@dataclass(frozen=True)
class TokenRule:
    """Where one token's embedding comes from.

    `source` is a model, "zero", or None for the usual rule; `token` names another token of that
    model to take, by text or number. With `force` every model gets it, also one that has the token.
    """

    source: str | None = None
    token: str | int | None = None
    force: bool = False


@dataclass(frozen=True)
class TokenizerSpec:
    """`source` is "base", "union" or a model."""

    source: str = "union"
    tokens: Mapping[str, TokenRule] = field(default_factory=dict)
    pad_to_multiple_of: int | None = None

    def references(self) -> tuple[str, ...]:
        """Return the models that are named here."""
        named = [self.source] if self.source not in ("base", "union") else []
        named += [r.source for r in self.tokens.values() if r.source and r.source != "zero"]
        return tuple(named)


def parse_tokenizer(data: Mapping[str, Any]) -> TokenizerSpec | None:
    """Return what `tokenizer` or `tokenizer_source` of a recipe say.

    Raises:
        BadInput: if both are given, or what they say is not known.
    """
    short_form, value = data.get("tokenizer_source"), data.get("tokenizer")
    named = _models(data)
    if value is None:
        if short_form is None:
            return None
        return TokenizerSpec(_source(short_form, "tokenizer_source", named))
    if short_form is not None:
        raise BadInput("Give 'tokenizer' or 'tokenizer_source', not both.")
    entry = keys(value, "'tokenizer'", ("source", "tokens", "pad_to_multiple_of"))
    tokens = entry.get("tokens") or {}
    if not isinstance(tokens, Mapping) or len(tokens) > MAX_TOKENS:
        raise BadInput(f"'tokenizer.tokens' must be a mapping of at most {MAX_TOKENS:,} tokens.")
    multiple = entry.get("pad_to_multiple_of")
    if multiple is not None and (type(multiple) is not int or not 1 <= multiple <= 1_000_000):
        raise BadInput("'tokenizer.pad_to_multiple_of' must be a whole number from 1 to 1,000,000.")
    return TokenizerSpec(
        _source(entry.get("source", "union"), "tokenizer.source", named),
        {
            str(name): _rule(rule, f"tokenizer.tokens.{short(name)}")
            for name, rule in tokens.items()
        },
        multiple,
    )


def dump_tokenizer(spec: TokenizerSpec | None) -> dict[str, Any]:
    """Return the keys of a recipe that `parse_tokenizer` reads back."""
    if spec is None:
        return {}
    if not spec.tokens and not spec.pad_to_multiple_of:
        return {"tokenizer_source": spec.source}
    data: dict[str, Any] = {"source": spec.source}
    if spec.tokens:
        data["tokens"] = {name: _dump_rule(rule) for name, rule in spec.tokens.items()}
    if spec.pad_to_multiple_of:
        data["pad_to_multiple_of"] = spec.pad_to_multiple_of
    return {"tokenizer": data}


def _source(value: object, where: str, named: set[str]) -> str:
    if value in WORDS:
        return str(value)
    found = reference(value, where)
    known = [*WORDS, *sorted(named)]
    if found not in named and not Path(found).expanduser().exists():
        near = difflib.get_close_matches(found.lower(), known, n=1, cutoff=0.7)
        if near and "/" not in found:
            raise BadInput(
                f"'{where}' is '{short(found)}', which is no folder and no model of the recipe; "
                f"did you mean '{near[0]}'? It is 'base', 'union', or a model."
            )
    return found


def _models(data: object) -> set[str]:
    """Return every text in the parts of a recipe that name models."""
    if isinstance(data, str):
        return {data}
    if isinstance(data, Mapping):
        parts = [v for k, v in data.items() if k not in ("tokenizer", "tokenizer_source")]
        return set().union(*map(_models, parts))
    return set().union(*map(_models, data)) if isinstance(data, list | tuple) else set()


def _rule(value: object, where: str) -> TokenRule:
    entry = keys(value, where, ("source", "force"))
    source = entry.get("source")
    force = entry.get("force", False)
    if not isinstance(force, bool):
        raise BadInput(f"'{where}.force' must be true or false.")
    if source is None:
        return TokenRule(None, None, force)
    if isinstance(source, Mapping) and source.get("kind") == "zero":
        keys(source, f"{where}.source", ("kind",))
        return TokenRule("zero", None, force)
    if isinstance(source, Mapping) and source.get("kind") == "model_token":
        inner = keys(source, f"{where}.source", ("kind", "model", "token", "token_id"))
        token = inner.get("token", inner.get("token_id"))
        if not isinstance(token, str) and (type(token) is not int or token < 0):
            raise BadInput(f"'{where}.source' needs 'token' (a text) or 'token_id' (a number).")
        return TokenRule(reference(inner.get("model"), f"{where}.source.model"), token, force)
    return TokenRule(reference(source, f"{where}.source"), None, force)


def _dump_rule(rule: TokenRule) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if rule.source == "zero":
        data["source"] = {"kind": "zero"}
    elif rule.token is not None:
        key = "token" if isinstance(rule.token, str) else "token_id"
        data["source"] = {"kind": "model_token", "model": rule.source, key: rule.token}
    elif rule.source:
        data["source"] = rule.source
    if rule.force:
        data["force"] = True
    return data
