# SPDX-License-Identifier: Apache-2.0
"""Judge models on the test texts of both kinds: loss per token, and where gates send them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prepare import DOMAINS, WORK, rows

from plait.fusion import fuse


def losses(folder: Path) -> tuple[list[float], list[str]]:
    """Return the mean loss on each domain, and the share of tokens that its own expert is sent."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found: list[float] = []
    sent: list[str] = []
    for number, own in enumerate(json.loads((WORK / "test.json").read_text()).values()):
        total: list[float] = []
        right: list[float] = []
        for batch in rows(tokenizer, own).split(64):
            options: dict[str, Any] = {"input_ids": batch, "labels": batch}
            if "mixtral" in type(model).__name__.lower():
                options["output_router_logits"] = True
            with torch.no_grad():
                told = model(**options)
                logits = told.logits[:, :-1].flatten(0, 1)
                loss = torch.nn.functional.cross_entropy(logits, batch[:, 1:].flatten())
            total.append(float(loss) * len(batch))
            right += [
                float((layer.argmax(-1) == number).float().mean())
                for layer in getattr(told, "router_logits", None) or ()
            ]
        found.append(sum(total) / len(rows(tokenizer, own)))
        sent.append(f"{sum(right) / len(right):.0%}" if right else "")
    return found, sent


def main() -> None:
    """Make what is compared, and print the table."""
    place = Path(__file__).parent
    recipe = place / "recipe.yaml"
    average = [{"model": str(WORK / n), "parameters": {"weight": 0.5}} for n in DOMAINS]
    fuse({"merge_method": "linear", "models": average}, WORK / "average", overwrite=True)
    import yaml

    data = yaml.safe_load(recipe.read_text("utf-8"))
    for expert in data["experts"]:
        expert["source_model"] = str(place / expert["source_model"])
    data["base_model"] = str(place / data["base_model"])
    for gate in ("hidden", "cheap_embed", "random"):
        for count in (1, 2):
            more = {"gate_mode": gate, "experts_per_token": count}
            fuse(data | more, WORK / f"{gate}-{count}", overwrite=True)
    names = ["base", *DOMAINS, "average"]
    names += [f"{g}-{n}" for g in ("hidden", "cheap_embed", "random") for n in (1, 2)]
    print(f"| model | {DOMAINS[0]} | {DOMAINS[1]} | mean | tokens to their own expert |")
    print("|---|---:|---:|---:|---:|")
    for name in names:
        found, sent = losses(WORK / name)
        mean = sum(found) / 2
        print(f"| {name} | {found[0]:.3f} | {found[1]:.3f} | {mean:.3f} | {' / '.join(sent)} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
