"""Near duplicates and groups, on pictures made here whose relations are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainmri.data.groups import SAME_GROUP, find_groups, near_pairs


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures that correlate little with each other: uint8 (count, 64, 64)."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(count, 8, 8))
    return np.kron(coarse, np.ones((8, 8))).astype(np.uint8)


def test_mirrors_turns_and_contrast_are_the_same_picture() -> None:
    one, other = pictures(2)
    noisy = np.clip(one + np.random.default_rng(1).normal(0, 3, one.shape), 0, 255).astype(np.uint8)
    forms = [one, one[:, ::-1], other, one[::-1], one[::-1, ::-1], one // 2 + 40, noisy]
    grouping = find_groups(np.stack(forms), [""] * len(forms))
    assert grouping.picture.tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert grouping.group.tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_a_quarter_turn_and_a_negative_are_other_pictures() -> None:
    (one,) = pictures(1)
    grouping = find_groups(np.stack([one, np.rot90(one), 255 - one]), [""] * 3)
    assert grouping.group.tolist() == [0, 1, 2]


def similar(one: np.ndarray, other: np.ndarray, correlation: float) -> np.ndarray:
    """A picture whose correlation with `one` is about `correlation`."""
    a, b = (picture - picture.mean() for picture in (one.astype(float), other.astype(float)))
    b -= a * (a * b).sum() / (a * a).sum()
    mixed = correlation * a / a.std() + np.sqrt(1 - correlation**2) * b / b.std()
    return np.clip(128 + 40 * mixed, 0, 255).astype(np.uint8)


def test_neighbouring_slices_share_a_group_but_are_not_one_picture() -> None:
    one, other, third = pictures(3)
    grouping = find_groups(np.stack([one, similar(one, other, 0.965), similar(one, third, 0.90)]), [""] * 3)
    assert grouping.picture.tolist() == [0, 1, 2]
    assert grouping.group.tolist() == [0, 0, 1]


def test_given_ids_hold_together_and_outweigh_likeness_but_not_identity() -> None:
    one, other, third = pictures(3)
    near = similar(one, other, 0.965)
    grouping = find_groups(np.stack([one, third, near]), ["patient 1", "patient 1", "patient 2"])
    assert grouping.group.tolist() == [0, 0, 1]
    grouping = find_groups(np.stack([one, third, near]), ["patient 1", "patient 1", ""])
    assert grouping.group.tolist() == [0, 0, 0]
    grouping = find_groups(np.stack([one, third, one[:, ::-1]]), ["patient 1", "patient 1", "patient 2"])
    assert grouping.group.tolist() == [0, 0, 0]
    assert grouping.picture.tolist() == [0, 1, 0]


def test_pictures_without_contrast_group_with_each_other_only() -> None:
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 90)])
    assert find_groups(np.concatenate([flat, pictures(2)]), [""] * 4).group.tolist() == [0, 0, 1, 2]


def test_blocks_do_not_change_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    some = pictures(40)
    thumbnails = np.concatenate([some, some[:, ::-1], some[::-1]])
    whole = near_pairs(thumbnails, SAME_GROUP)
    monkeypatch.setattr("brainmri.data.groups.BLOCK", 7)
    blocks = near_pairs(thumbnails, SAME_GROUP)
    order = np.lexsort((blocks[1], blocks[0]))
    expected = np.lexsort((whole[1], whole[0]))
    assert len(whole[0]) == 3 * 40
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(a[expected], b[order], atol=1e-5)


def test_the_two_arguments_must_fit() -> None:
    with pytest.raises(ValueError, match="3 thumbnails but 2 given"):
        find_groups(pictures(3), ["", ""])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=12), st.integers(0, 99))
def test_equal_ids_always_share_a_group_and_pictures_nest_in_groups(ids: list[str], seed: int) -> None:
    thumbnails = pictures(len(ids), seed)
    grouping = find_groups(thumbnails, ids)
    for name in set(ids) - {""}:
        assert len({group for group, own in zip(grouping.group, ids, strict=True) if own == name}) == 1
    for picture in set(grouping.picture):
        assert len(set(grouping.group[grouping.picture == picture])) == 1
    assert grouping.group[0] == 0
    assert set(grouping.group) == set(range(grouping.group.max() + 1))
