import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from brainmri.runs.paired import (
    COLUMNS,
    exact_mcnemar,
    exact_mcnemar_by_group,
    holm,
    paired_markdown,
    paired_tests,
    write_paired_tests,
)
from brainmri.runs.table import read_runs

IMAGES = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1, max_size=40)


def columns(images):
    right_a, right_b, groups = zip(*images, strict=True)
    return np.array(right_a), np.array(right_b), [f"g{group}" for group in groups]


def by_all_signs(right_a, right_b, groups):
    """The sign-flip test by its definition: every choice of signs, one by one."""
    differences = pd.Series(right_a.astype(int) - right_b.astype(int)).groupby(groups).sum().to_numpy()
    sums = [abs(np.dot(signs, differences)) for signs in product([1, -1], repeat=len(differences))]
    return np.mean(np.array(sums) >= abs(differences.sum()))


def test_mcnemar_by_hand():
    # 5 images only a got right, 1 only b: 2 * (C(6,0) + C(6,1)) / 2^6
    right_a, right_b = [1] * 5 + [0] + [1] * 9, [0] * 5 + [1] + [1] * 9
    assert exact_mcnemar(right_a, right_b) == pytest.approx(14 / 64)


def test_by_group_by_hand():
    # Differences 3, 1 and -1 of the groups sum to 3. Of the 8 choices of signs, +-3+1-1, +-3-1+1, +-(3+1+1) reach 3.
    right_a, right_b = [1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1]
    assert exact_mcnemar_by_group(right_a, right_b, ["x", "x", "x", "y", "z", "z"]) == pytest.approx(6 / 8)
    # As single images, 4 against 1: 2 * (1 + 5) / 32.
    assert exact_mcnemar(right_a, right_b) == pytest.approx(12 / 32)


def test_images_that_agree_within_groups_are_worth_one_group_each():
    right_a, right_b = np.ones(30), np.zeros(30)
    groups = np.repeat(["x", "y", "z"], 10)
    assert exact_mcnemar_by_group(right_a, right_b, groups) == pytest.approx(2 / 2**3)
    assert exact_mcnemar(right_a, right_b) == pytest.approx(2 / 2**30)


@settings(deadline=None)
@given(IMAGES)
def test_by_group_equals_the_enumeration_of_all_signs(images):
    right_a, right_b, groups = columns(images)
    assert exact_mcnemar_by_group(right_a, right_b, groups) == pytest.approx(by_all_signs(right_a, right_b, groups))


@settings(deadline=None)
@given(IMAGES)
def test_groups_of_one_image_give_mcnemars_test(images):
    right_a, right_b, _ = columns(images)
    single = [f"i{k}" for k in range(len(images))]
    assert exact_mcnemar_by_group(right_a, right_b, single) == pytest.approx(exact_mcnemar(right_a, right_b))


@settings(deadline=None)
@given(IMAGES)
def test_both_tests_are_symmetric_and_give_a_probability(images):
    right_a, right_b, groups = columns(images)
    for p, swapped in [
        (exact_mcnemar(right_a, right_b), exact_mcnemar(right_b, right_a)),
        (exact_mcnemar_by_group(right_a, right_b, groups), exact_mcnemar_by_group(right_b, right_a, groups)),
    ]:
        assert p == swapped
        assert 0 < p <= 1
    assert exact_mcnemar(right_a, right_a) == exact_mcnemar_by_group(right_a, right_a, groups) == 1


def test_many_groups_are_exact_too():
    right_a = np.arange(1000) % 20 != 0  # 50 images only b got right ...
    right_b = np.arange(1000) % 11 != 1  # ... and 91 only a, less those that both missed
    only_a, only_b = (right_a & ~right_b).sum(), (right_b & ~right_a).sum()
    p = exact_mcnemar_by_group(right_a, right_b, [str(k) for k in range(1000)])
    assert p == pytest.approx(binomtest(int(only_a), int(only_a + only_b)).pvalue, rel=1e-9)
    assert 0 < p < 0.001


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]


@pytest.mark.integration
def test_runs_are_paired_within_their_test_set_only(make_scored, tmp_path):
    other = {"data__split": "source", "data__leaky": True, "data__fingerprint": "f" * 16}
    dirs = [
        make_scored("a", range(0), seed=1),
        make_scored("b", range(8), seed=2),  # two whole groups
        make_scored("c", [0, 4, 8, 12, 16, 20, 24, 28], seed=3),  # one of four in eight groups
        make_scored("d", range(240), seed=1, **other),
        make_scored("e", range(0), seed=2, **other),
        make_scored("f", range(0), data__fingerprint="e" * 16),  # alone
    ]
    runs = read_runs(dirs)
    tests = paired_tests(runs)
    write_paired_tests(tests, tmp_path / "out" / "paired_tests.csv")
    assert list(tests.columns) == COLUMNS
    grouped, source = tests[~tests["leaky"].astype(bool)], tests[tests["leaky"].astype(bool)]
    names = [f"resnet50 clean seed {seed}" for seed in (1, 2, 3)]
    assert list(zip(grouped["run_a"], grouped["run_b"], strict=True)) == [
        (names[0], names[1]),
        (names[0], names[2]),
        (names[1], names[2]),
    ]
    assert source[["run_a", "run_b"]].to_numpy().tolist() == [names[:2]]
    assert set(tests["images"]) == {240}
    assert set(tests["groups"]) == {60}
    ab, ac, bc = (row for _, row in grouped.iterrows())
    assert (ab["accuracy_a"], ab["accuracy_b"]) == (1, pytest.approx(232 / 240))
    assert ab[["only_a_right", "only_b_right"]].tolist() == [8, 0]
    assert (ab["p_mcnemar"], ab["p_group"]) == (pytest.approx(2 / 2**8), pytest.approx(2 / 2**2))
    assert (ac["p_mcnemar"], ac["p_group"]) == (pytest.approx(2 / 2**8), pytest.approx(2 / 2**8))
    assert bc[["only_a_right", "only_b_right"]].tolist() == [6, 6]
    assert bc["p_group"] == 1
    assert grouped["p_group_holm"].tolist() == pytest.approx([1, 6 / 2**8, 1])  # over the three pairs of this set
    assert source["p_group_holm"].tolist() == source["p_group"].tolist()
    assert str(tmp_path) not in (tmp_path / "out" / "paired_tests.csv").read_text(encoding="utf-8")

    text = paired_markdown(tests, runs)
    assert text.count("### Paired tests") == 2
    assert "An empty cell above the diagonal" not in text
    # Runs that share a test set and could not be tested stand in the matrix, without a figure.
    few = paired_markdown(tests[tests["run_a"] != names[0]], runs)
    assert few.count("### Paired tests") == 2 and "An empty cell above the diagonal: not tested" in few
    assert re.search(rf"\| 1 `{names[0]}` \| [\d.]+ % \|  \|  \|", few) and "+0.0 (1.000)" in few
    assert "No two runs share a test set." not in paired_markdown(tests.iloc[:0], runs)
    assert "source split, leaky" in text
    assert f"| 1 `{names[0]}` | 100.0 % | +3.3 (0.500) | **+3.3 (0.008)** |" in text
    assert f"| 2 `{names[1]}` | 96.7 % |  | +0.0 (1.000) |" in text
    assert f"| 1 `{names[0]}` | 0.0 % | **-100.0 (<0.001)** |" in text


def test_one_run_has_nobody_to_be_paired_with(make_run):
    runs = read_runs([make_run()])
    tests = paired_tests(runs)
    assert list(tests.columns) == COLUMNS
    assert tests.empty
    assert "No two runs share a test set." in paired_markdown(tests, runs)


@pytest.mark.parametrize("column", ["file_name", "label", "group_id"])
def test_runs_on_other_images_labels_or_groups_are_refused_by_name(make_scored, column):
    one, two = make_scored("one", [1]), make_scored("two", [2], seed=2)
    table = pd.read_csv(two / "predictions.csv", dtype=str, keep_default_na=False)
    table.loc[table["split"].eq("test").idxmax(), column] = "other"
    table.to_csv(two / "predictions.csv", index=False)
    with pytest.raises(ValueError, match=r"one and .*two: .*cannot be paired"):
        paired_tests(read_runs([one, two]))


def test_predictions_without_a_column_are_named(make_scored):
    one, two = make_scored("one", [1]), make_scored("two", [2], seed=2)
    pd.read_csv(two / "predictions.csv").drop(columns=["group_id"]).to_csv(two / "predictions.csv", index=False)
    with pytest.raises(ValueError, match=r"two.predictions\.csv has no column group_id: evaluate the run again"):
        paired_tests(read_runs([one, two]))
