import hashlib
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainmri.data.constants import SCHEMES
from brainmri.data.splits import assign, dealt_by_group


def make_table(sizes: dict[str, list[int]], source_split: str = "") -> pd.DataFrame:
    """`sizes`: class -> number of images of each of its groups."""
    rows = [
        {"path": f"{label}/{group:03d}_{number:03d}.png", "label": label, "group_id": f"{label}{group}"}
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for number in range(size)
    ]
    return pd.DataFrame(rows).assign(source_split=source_split)


def halves(train: dict[str, list[int]], test: dict[str, list[int]]) -> pd.DataFrame:
    tables = [make_table(train, "train"), make_table(test, "test").assign(group_id=lambda rows: "t" + rows["group_id"])]
    tables[1]["path"] = "t" + tables[1]["path"]
    return pd.concat(tables, ignore_index=True)


def counts(table: pd.DataFrame) -> dict[str, int]:
    return table["split"].value_counts().to_dict()


def split_of(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["path"], table["split"], strict=True))


classes = st.dictionaries(
    st.sampled_from(["glioma", "meningioma", "notumor", "pituitary"]),
    st.lists(st.integers(1, 6), min_size=3, max_size=40),
    min_size=2,
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@given(sizes=classes, seed=st.integers(0, 2**31), order=st.randoms(use_true_random=False))
def test_grouped_properties(sizes, seed, order):
    table = make_table(sizes)
    result = assign(table, "grouped", val=0.1, test=0.2, seed=seed)
    assert sorted(result["path"]) == sorted(table["path"])
    assert (result.groupby("group_id")["split"].nunique() == 1).all()
    for label, rows in result.groupby("label"):
        assert "train" in set(rows["split"]), label
        if len(sizes[label]) >= 10:  # 5 folds for the test, then 8 for validation
            assert set(rows["split"]) == {"train", "validation", "test"}, label
    shuffled = list(table.index)
    order.shuffle(shuffled)
    again = assign(table.loc[shuffled], "grouped", val=0.1, test=0.2, seed=seed)
    pd.testing.assert_frame_equal(result, again)


@pytest.mark.integration
@pytest.mark.parametrize(("val", "test"), [(0.1, 0.2), (0.15, 0.15), (0.25, 0.4), (0.2, 0.33), (0.03, 0.02)])
def test_grouped_sizes_are_near_the_fractions(val, test):
    table = make_table({"a": [1, 2, 3, 1, 2] * 15, "b": [2] * 70, "c": [1] * 90 + [9]})
    result = assign(table, "grouped", val=val, test=test, seed=0)
    for _, rows in result.groupby("label"):
        shares = rows["split"].value_counts(normalize=True)
        assert shares["test"] == pytest.approx(test, abs=0.03)
        assert shares["validation"] == pytest.approx(val, abs=0.03)


def test_grouped_depends_on_the_seed_and_not_on_the_names_of_the_groups():
    table = make_table({"a": [2] * 30, "b": [1] * 30})
    result = split_of(assign(table, "grouped", val=0.1, test=0.2, seed=1))
    renamed = table.assign(group_id=["x" + name[::-1] for name in table["group_id"]])
    assert split_of(assign(renamed, "grouped", val=0.1, test=0.2, seed=1)) == result
    assert split_of(assign(table, "grouped", val=0.1, test=0.2, seed=2)) != result


@pytest.mark.parametrize("seed", range(5))
def test_classes_of_three_groups_are_in_every_split(seed):
    result = assign(make_table({"a": [1, 1, 1], "b": [4, 4, 4]}), "grouped", val=0.1, test=0.2, seed=seed)
    assert (result.groupby("label")["split"].nunique() == 3).all()


def test_small_class_beside_large_one():
    result = assign(make_table({"a": [2] * 100, "b": [1, 1, 1]}), "grouped", val=0.1, test=0.2, seed=0)
    assert result.groupby("label")["split"].nunique().to_dict() == {"a": 3, "b": 3}


def test_groups_of_mixed_classes_stay_whole():
    table = make_table({"a": [2] * 40, "b": [3] * 40})
    table["group_id"] = table["group_id"].str[1:]  # a7 and b7 are one patient now
    result = assign(table, "grouped", val=0.1, test=0.2, seed=0)
    assert (result.groupby("group_id")["split"].nunique() == 1).all()
    assert counts(result)["test"] == pytest.approx(0.2 * 200, abs=10)


def test_too_few_groups():
    with pytest.raises(ValueError, match=r"too few groups .*: class b has 2, and .* needs at least 3 of each"):
        assign(make_table({"a": [2] * 20, "b": [20, 20]}), "grouped", val=0.1, test=0.2, seed=0)
    with pytest.raises(ValueError, match=r"to take 10 % out of: class a has 1, class b has 1\. A class needs 2"):
        assign(halves({"a": [5], "b": [5]}, {"a": [1], "b": [1]}), "source", val=0.1, test=0.2, seed=0)


@pytest.mark.parametrize(
    ("val", "test"), [(0, 0.2), (0.1, 0), (-0.1, 0.2), (0.5, 0.5), (0.1, 1), (0.1, 20), (float("nan"), 0.2)]
)
def test_absurd_fractions(val, test):
    with pytest.raises(ValueError, match=f"val {val:g} and test {test:g}"):
        assign(make_table({"a": [2] * 20, "b": [2] * 20}), "grouped", val=val, test=test, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_what_is_no_seed(seed):
    with pytest.raises(ValueError, match=f"--split_seed {seed}: a whole number from 0 to 4294967295"):
        assign(make_table({"a": [2] * 20, "b": [2] * 20}), "grouped", val=0.1, test=0.2, seed=seed)


# Patients of a few classes, no two of a class with equally many images, which StratifiedGroupKFold deals in one way.
unequal = st.lists(st.lists(st.integers(1, 60), min_size=4, max_size=30, unique=True), min_size=2, max_size=4)


def partition(table: pd.DataFrame) -> frozenset[frozenset[str]]:
    """What stands together, whatever it is called: the files of each value of `split`."""
    return frozenset(frozenset(rows["path"]) for _, rows in table.groupby("split"))


def check_parts(table: pd.DataFrame, shares: dict[str, float]) -> None:
    """No group is in two parts, every class in every one, and its images and groups are about the shares."""
    assert (table.groupby("group_id")["split"].nunique() == 1).all()
    for label, rows in table.groupby("label"):
        groups = rows.groupby("group_id")["split"].agg(["first", "size"])
        for part, share in shares.items():
            inside = groups[groups["first"] == part]
            assert len(inside), (label, part)
            assert abs(inside["size"].sum() - share * len(rows)) <= 1.5 * groups["size"].max(), (label, part)
            assert abs(len(inside) - share * len(groups)) <= 2, (label, part)


@settings(max_examples=15, deadline=None)
@given(sizes=unequal, seed=st.integers(0, 2**32 - 2))
def test_a_split_of_unequal_patients_is_balanced_and_another_one_by_another_seed(sizes, seed):
    table = make_table({f"c{number}": groups for number, groups in enumerate(sizes)})
    result = assign(table, "grouped", val=0.1, test=0.2, seed=seed)
    check_parts(result, {"train": 0.7, "validation": 0.1, "test": 0.2})
    pd.testing.assert_frame_equal(result, assign(table.iloc[::-1], "grouped", val=0.1, test=0.2, seed=seed))
    neighbours = range(seed // 32 * 32, seed // 32 * 32 + 4)
    found = [partition(assign(table, "grouped", val=0.1, test=0.2, seed=one)) for one in neighbours]
    assert len(set(found)) == 4 if min(map(len, sizes)) >= 8 else len(set(found)) > 1


@settings(max_examples=15, deadline=None)
@given(sizes=unequal, seed=st.integers(0, 2**32 - 2), folds=st.integers(2, 4))
def test_folds_of_unequal_patients_are_balanced_and_others_by_another_seed(sizes, seed, folds):
    table = make_table({f"c{number}": groups for number, groups in enumerate(sizes)})
    dealt = table.assign(split=dealt_by_group(table, folds, seed))
    check_parts(dealt, dict.fromkeys(range(folds), 1 / folds))
    neighbours = range(seed // 32 * 32, seed // 32 * 32 + 3)
    found = [partition(table.assign(split=dealt_by_group(table, folds, one))) for one in neighbours]
    assert len(set(found)) == 3 if min(map(len, sizes)) >= 8 else len(set(found)) > 1


def test_24_patients_of_different_sizes_get_a_split_for_each_seed():
    table = make_table({"healthy": list(range(5, 29, 2)), "tumor": list(range(4, 28, 2))})
    splits = [partition(assign(table, "grouped", val=0.1, test=0.2, seed=seed)) for seed in range(32)]
    folds = [partition(table.assign(split=dealt_by_group(table, 5, seed))) for seed in range(32)]
    assert (len(set(splits)), len(set(folds))) == (32, 32)
    tested = pd.concat(assign(table, "grouped", val=0.1, test=0.2, seed=seed) for seed in range(32)).query(
        "split == 'test'"
    )
    assert tested["group_id"].nunique() == 24  # every patient is tested under some seed


def test_where_a_shuffle_decides_the_split_is_that_of_stratified_folds():
    """Splits of data of many small groups stay what they were, so that figures on them go on counting."""
    rng = np.random.default_rng(0)
    table = make_table({label: rng.integers(1, 6, 200).tolist() for label in ("a", "b", "c")})
    result = assign(table, "grouped", val=0.1, test=0.2, seed=42)
    digest = hashlib.sha256("".join(result.sort_values("path")["split"].str[0]).encode()).hexdigest()
    assert digest[:16] == "871fe791a9dde162"


def test_one_patient_of_very_many_images():
    """It goes where it fits; the others keep every part from being empty."""
    table = make_table({"a": [400, 1, 2, 3], "b": [5, 6, 7, 8]})
    for seed in range(8):
        result = assign(table, "grouped", val=0.1, test=0.2, seed=seed)
        assert set(result.loc[result["group_id"] == "a0", "split"]) == {"train"}
        assert (result.groupby("label")["split"].nunique() == 3).all()


@pytest.mark.integration
def test_a_hundred_thousand_images_are_split_in_seconds():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3000), rng.multinomial(100_000 - 3000, rng.dirichlet(np.full(3000, 2))) + 1)
    table = pd.DataFrame({"path": [f"{k:06d}" for k in range(len(groups))], "group_id": groups.astype(str)})
    table = table.assign(label=np.array(list("abcd"))[groups % 4], source_split="")
    start = time.perf_counter()
    result = assign(table, "grouped", val=0.1, test=0.2, seed=1)
    assert time.perf_counter() - start < 20
    check_parts(result, {"train": 0.7, "validation": 0.1, "test": 0.2})


def test_unused_fractions_are_not_checked():
    table = halves({"a": [1] * 20, "b": [1] * 20}, {"a": [1] * 4, "b": [1] * 4})
    assert counts(assign(table, "source", val=0.1, test=7, seed=0))["test"] == 8


def test_source_keeps_the_test_split():
    table = halves({"a": [3] * 30, "b": [2] * 45}, {"a": [1] * 10, "b": [1] * 12})
    result = assign(table, "source", val=0.1, test=0.2, seed=0)
    assert set(result.loc[result["split"] == "test", "source_split"]) == {"test"}
    assert counts(result) == {
        "train": 161,
        "validation": 19,
        "test": 22,
    }  # 9 of the 90 images of a, 10 of b: its groups have two
    assert (result.groupby("group_id")["split"].nunique() == 1).all()


def test_source_keeps_a_validation_split():
    table = halves({"a": [3] * 30, "b": [2] * 45}, {"a": [1] * 10, "b": [1] * 12})
    table.loc[:4, "source_split"] = "validation"
    result = assign(table, "source", val=0.1, test=0.2, seed=0)
    assert (result["split"] == result["source_split"]).all()


def test_source_halved_gives_the_counts_of_source_d():
    sizes = {"glioma": 300, "meningioma": 306, "notumor": 405, "pituitary": 300}
    train = {"glioma": 1321, "meningioma": 1339, "notumor": 1595, "pituitary": 1457}
    table = halves(
        {name: [1] * size for name, size in train.items()}, {name: [1] * size for name, size in sizes.items()}
    )
    result = assign(table, "source_halved", val=0.1, test=0.2, seed=42)
    assert counts(result) == {"train": 5712, "test": 656, "validation": 655}
    test = result[result["split"] == "test"]["label"].value_counts()
    assert all(abs(test[name] - size / 2) <= 1 for name, size in sizes.items())


def test_oversampling_gives_the_counts_of_source_a():
    sizes = {"healthy": 2000, "meningioma": 1112, "glioma": 672, "pituitary": 629, "tumor": 587}
    table = make_table({name: [1] * size for name, size in sizes.items()})
    result = assign(table, "oversample_then_split", val=0.1, test=0.2, seed=42)
    assert counts(result) == {"train": 7000, "validation": 1000, "test": 2000}
    assert pd.crosstab(result["label"], result["split"]).to_numpy().tolist() == [[400, 1400, 200]] * 5
    healthy = result[result["label"] == "healthy"]
    assert healthy["path"].is_unique
    assert result.groupby("group_id")["split"].nunique().max() == 3  # the leak that it is there to show
    drawn = table[table["label"] == "glioma"].sample(2000, replace=True, random_state=42)
    assert sorted(result.loc[result["label"] == "glioma", "path"]) == sorted(drawn["path"])


def test_npz_splits_image_by_image():
    table = halves({"notumor": [50], "tumor": [50]}, {"notumor": [7], "tumor": [9]})
    result = assign(table, "npz", val=0.1, test=0.2, seed=42)
    assert counts(result) == {"train": 90, "validation": 10, "test": 16}
    assert (result[result["split"] == "validation"]["label"].value_counts() == 5).all()


@pytest.mark.parametrize("scheme", ["source", "source_halved", "oversample_then_split", "npz"])
def test_other_schemes_are_deterministic(scheme):
    table = halves({"a": [2] * 30, "b": [1] * 40}, {"a": [1] * 9, "b": [1] * 12})
    result = assign(table, scheme, val=0.1, test=0.2, seed=3)
    again = assign(table.sample(frac=1, random_state=0), scheme, val=0.1, test=0.2, seed=3)
    pd.testing.assert_frame_equal(result, again)
    other = assign(table, scheme, val=0.1, test=0.2, seed=4)
    assert not np.array_equal(other["split"], result["split"])
    if scheme != "oversample_then_split":
        assert sorted(result["path"]) == sorted(table["path"])


@pytest.mark.parametrize("scheme", ["source", "source_halved", "npz"])
@pytest.mark.parametrize("found", ["", "train"])
def test_source_without_the_splits_that_are_needed(scheme, found):
    table = make_table({"a": [2] * 20, "b": [2] * 20}, found)
    with pytest.raises(ValueError, match=f"the split {scheme} needs .*work here: grouped, oversample_then_split$"):
        assign(table, scheme, val=0.1, test=0.2, seed=0)


def test_validation_part_fits_source_only():
    table = halves({"a": [3] * 30, "b": [2] * 45}, {"a": [1] * 10, "b": [1] * 12})
    table.loc[:4, "source_split"] = "validation"
    with pytest.raises(ValueError, match=r"work here: grouped, source, oversample_then_split$"):
        assign(table, "npz", val=0.1, test=0.2, seed=0)


def test_too_few_images():
    with pytest.raises(ValueError, match=r"too few images to split by class \(a 3, b 1\)"):
        assign(halves({"a": [3], "b": [1]}, {"a": [1], "b": [1]}), "npz", val=0.1, test=0.2, seed=0)


def test_unknown_scheme():
    with pytest.raises(ValueError, match="unknown split 'random': expected one of grouped"):
        assign(make_table({"a": [1] * 9}), "random", val=0.1, test=0.2, seed=0)
    assert next(iter(SCHEMES)) == "grouped"


@settings(max_examples=25, deadline=None)
@given(sizes=classes, seed=st.integers(0, 2**31))
def test_a_site_held_out_is_in_test_alone_with_all_its_groups(sizes, seed):
    here = make_table(sizes | {"glioma": [1, 2, 1, 3, 1], "notumor": [2, 1, 1]}).assign(site="here")
    away = make_table({"glioma": [2, 1], "notumor": [3]}).assign(site="away")
    away["path"] = "away/" + away["path"]
    away.loc[away["group_id"] != "glioma0", "group_id"] += "away"  # glioma0 has images of both sites
    result = assign(pd.concat([here, away]), "grouped", val=0.1, test=0.2, seed=seed, holdout="away")
    assert sorted(result["path"]) == sorted([*here["path"], *away["path"]])
    assert set(result.loc[result["site"] == "away", "split"]) == {"test"}
    assert (result.groupby("group_id")["split"].nunique() == 1).all()
    shared = here["group_id"] == "glioma0"
    rest = split_of(assign(here[~shared], "grouped", val=0.1, test=0.2, seed=seed))
    assert {path: split for path, split in split_of(result).items() if path in rest} == rest


def test_what_cannot_be_held_out():
    table = make_table({"a": [1] * 5, "b": [1] * 5}).assign(site="here")
    for holdout, scheme, words in (
        ("away", "grouped", "no image has the site away; the sites are: here"),
        ("here", "oversample_then_split", "of the split grouped only"),
        ("here", "grouped", "too few"),
    ):
        with pytest.raises(ValueError, match=words):
            assign(table, scheme, val=0.1, test=0.2, seed=0, holdout=holdout)
    with pytest.raises(ValueError, match="give them with --sites"):
        assign(table.assign(site=""), "grouped", val=0.1, test=0.2, seed=0, holdout="here")
