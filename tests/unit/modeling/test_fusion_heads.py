# SPDX-License-Identifier: Apache-2.0
"""Laws of the heads: what is missing has no influence, and neither has padding."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from plait.modeling.fusion_heads import HEADS  # noqa: E402

pytestmark = pytest.mark.models
WIDTH, MODALITIES, ITEMS = 8, 3, 5


def head(name: str) -> Any:
    torch.manual_seed(0)
    made = HEADS[name](MODALITIES, WIDTH, 0.3).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def inputs(seed: int, padding: int = 0) -> tuple[Any, Any]:
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randn(ITEMS, MODALITIES, WIDTH, generator=random)
    tokens = []
    for place in range(MODALITIES):
        found = torch.randn(ITEMS, 2 + place, WIDTH, generator=random)
        mask = torch.ones(found.shape[:2])
        noise = torch.randn(ITEMS, padding, WIDTH)
        tokens.append((torch.cat([found, noise], 1), torch.cat([mask, mask.new_zeros(ITEMS,
                      padding)], 1)))  # fmt: skip
    return vectors, tokens


present = st.lists(
    st.lists(st.booleans(), min_size=MODALITIES, max_size=MODALITIES).filter(any),
    min_size=ITEMS, max_size=ITEMS,
)  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
@given(here=present, seed=st.integers(0, 1_000))
@settings(max_examples=15, deadline=None)
def test_what_is_missing_has_no_influence(name: str, here: list[list[bool]], seed: int) -> None:
    fuse, mask = head(name), torch.tensor(here)
    vectors, tokens = inputs(seed)
    others, other_tokens = inputs(seed + 1)
    swapped = [
        (torch.where(mask[:, i, None, None], a, b), m)
        for i, ((a, m), (b, _)) in enumerate(zip(tokens, other_tokens, strict=True))
    ]
    # the model hands over zeros as the vectors of what is missing
    vectors = vectors * mask[..., None]
    with torch.no_grad():
        made = fuse(vectors, mask, tokens)
        assert torch.isfinite(made).all()
        assert torch.allclose(fuse(vectors, mask, swapped), made, atol=1e-5)
        # what is there has some
        moved = torch.where(mask[..., None], others, vectors)
        assert not torch.allclose(fuse(moved, mask, tokens), made, atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_items_do_not_see_one_another_and_padding_is_not_read(name: str) -> None:
    fuse = head(name)
    vectors, tokens = inputs(3)
    mask = torch.ones(ITEMS, MODALITIES, dtype=torch.bool)
    padded = inputs(3, padding=4)[1]
    with torch.no_grad():
        made = fuse(vectors, mask, tokens)
        one = fuse(vectors[2:3], mask[2:3], [(t[2:3], m[2:3]) for t, m in tokens])
        assert torch.allclose(one, made[2:3], atol=1e-5)
        assert torch.allclose(fuse(vectors, mask, padded), made, atol=1e-5)


def test_gates_add_up_to_one_over_what_is_there() -> None:
    fuse = head("gated")
    vectors, _ = inputs(5)
    for linear in fuse.inside:  # tanh of a large constant: every modality says 1
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.constant_(linear.bias, 50.0)
    for here in ([True, True, True], [True, False, True], [False, True, False]):
        mask = torch.tensor([here] * ITEMS)
        with torch.no_grad():
            made = fuse(vectors * mask[..., None], mask, None)
        assert torch.allclose(made, torch.ones(ITEMS, WIDTH), atol=1e-5)


def test_voice_tokens_go_with_their_mask_and_silence_after_the_end_changes_nothing() -> None:
    from plait.modeling.audio_encoders import LogMelEncoder, VoiceEncoder

    frames = torch.randn(2, 50, 40)
    mask = torch.ones(2, 50)
    mask[1, 33:] = 0
    longer = torch.cat([frames, torch.zeros(2, 21, 40)], 1)
    longer_mask = torch.cat([mask, torch.zeros(2, 21)], 1)
    for encoder in (VoiceEncoder().eval(), LogMelEncoder().eval()):
        with torch.no_grad():
            pooled, tokens, found = encoder(frames, mask)
            again, _, _ = encoder(longer, longer_mask)
        assert tokens.shape[:2] == found.shape
        assert torch.allclose(pooled, again, atol=1e-5)
