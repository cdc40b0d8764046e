"""Labels to look at again, on images of which some stand under the wrong label."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.audit import image_features as module
from brainmri.audit.image_features import NETWORK, image_features
from brainmri.audit.label_errors import COLUMNS, pairs_to_see, suspicious_labels
from brainmri.audit.report import labels_text

from ..scripts import run_here

COUNT = 80


def nothing(paths: pd.Series) -> None:
    """What is seen where the network is not installed."""


def looks() -> tuple[pd.DataFrame, np.ndarray]:
    """Noisy images of two looks, one group each; rows 3 and 10 stand under the other label, and 3 has a copy."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(40, 216, (2, 8, 8)).repeat(8, 1).repeat(8, 2)
    images = np.stack([shapes[row % 2] + rng.normal(0, 25, (64, 64)) for row in range(COUNT)]).clip(0, 255)
    images = np.concatenate([images, images[3:4, :, ::-1]]).astype(np.uint8)
    rows = [*range(COUNT), 3]
    return named([("a", "b")[(row + (row in (3, 10))) % 2] for row in rows], rows), images


def named(labels: list[str], groups: list[int]) -> pd.DataFrame:
    table = pd.DataFrame({"file_name": [f"{k}.png" for k in range(len(labels))], "label": labels})
    table["path"] = table["file_name"]
    table["duplicate_id"] = table["group_id"] = [f"g{group}" for group in groups]
    return table


def kinds(labels: list[str]) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A group for each label, thumbnails that say nothing, and features that say it well."""
    rng = np.random.default_rng(1)
    places = pd.factorize(pd.Series(labels), sort=True)[0]
    seen = np.eye(3, 12)[places] * 6 + rng.normal(0, 1, (len(labels), 12))
    return named(labels, [*range(len(labels))]), rng.integers(0, 256, (len(labels), 64, 64), np.uint8), seen


def test_wrong_labels_come_first_and_copies_do_not_vouch_for_each_other() -> None:
    table, images = looks()
    found, check = suspicious_labels(table, images, nothing)
    assert found["file_name"].tolist() == ["3.png", "10.png"]
    assert found["label"].tolist() == ["a", "b"]
    assert found["suggested"].tolist() == ["b", "a"]
    assert (found["confidence"] < 0.2).all()
    pairs = pairs_to_see(table, found, 1)
    assert [(one, table["label"][other]) for one, other in pairs] == [(3, "b")]
    assert check is not None
    assert (check.images, check.listed, check.by_network) == (COUNT, 2, False)
    assert check.found > 0.8 * check.changed
    assert "thumbnails alone (a network tells more: pip install" in labels_text(check)


def test_what_a_network_sees_names_tumours_against_none_first() -> None:
    truth = ["glioma", "meningioma", "notumor"] * 40
    table, contents, seen = kinds(truth)
    wrong = {5: "glioma", 6: "meningioma", 7: "notumor"}  # 5 shows nothing, 6 a glioma, 7 a meningioma
    labels = [wrong.get(row, label) for row, label in enumerate(truth)]
    found, check = suspicious_labels(table.assign(label=labels), contents, lambda paths: seen.astype(np.float32))
    assert set(found["file_name"][:2]) == {"5.png", "7.png"}
    assert found["file_name"].tolist()[2] == "6.png"
    assert found.set_index("file_name").loc[["5.png", "6.png", "7.png"], "suggested"].tolist() == [
        *("notumor", "glioma", "meningioma")
    ]
    assert len(found) <= 6
    assert check is not None
    assert check.by_network
    assert "told by an ImageNet network" in labels_text(check)
    for name, similar, suggested in found[["file_name", "similar", "suggested"]].itertuples(index=False):
        assert similar != name
        assert labels[int(similar.removesuffix(".png"))] == suggested


def test_where_nothing_tells_the_labels_nothing_is_listed() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice(["glioma", "meningioma", "notumor"], 300).tolist()
    table, contents, seen = kinds(labels)
    seen = rng.normal(0, 1, seen.shape).astype(np.float32)
    for see in (nothing, lambda paths: seen):
        assert len(suspicious_labels(table, contents, see)[0]) <= 3  # of 300; a guess contradicts two of three


def test_a_label_of_few_groups_is_not_judged() -> None:
    table, contents, seen = kinds(["glioma", "notumor"] * 40 + ["pituitary"] * 12)
    table.loc[table["label"] == "pituitary", "group_id"] = "one patient"
    for see in (nothing, lambda paths: seen[: len(paths)].astype(np.float32)):
        found, check = suspicious_labels(table, contents, see)
        assert "pituitary" not in set(found["label"])
        assert check is not None
        assert check.images == 80


def test_few_images_and_one_label_say_nothing() -> None:
    table, images = looks()
    assert suspicious_labels(table[:20], images[:20], nothing)[0].empty
    found, check = suspicious_labels(table.assign(label="a"), images, nothing)
    assert (found.columns.tolist(), check) == (COLUMNS, None)


@pytest.mark.integration
def test_the_network_sees_the_same_in_equal_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    images = [Image.fromarray(rng.integers(0, 256, (90, 120), np.uint8)) for _ in range(2)]
    for name, image in zip("abc", [images[0], images[0].convert("RGB"), images[1]], strict=True):
        image.save(tmp_path / f"{name}.png")
    seen = image_features([str(tmp_path / f"{name}.png") for name in "abc"])
    assert seen is not None
    assert seen.shape == (3, 112 + 192 + 320 + 1280)
    assert np.abs(seen[0] - seen[1]).max() < 1e-4 < np.abs(seen[0] - seen[2]).max()


@pytest.mark.integration
def test_the_audit_says_how_the_labels_were_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    stripes = 60 * (np.indices((96, 96)).sum(axis=0) % 8 < 4) * (np.indices((96, 96))[1] < 48)
    for row in range(COUNT):  # those with stripes are gliomas; 3.png has none and stands among them
        folder = tmp_path / "data" / ("glioma", "notumor")[(row + (row == 3)) % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shapes = Image.fromarray(rng.integers(0, 160, (6, 6), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
        Image.fromarray(np.asarray(shapes) + np.uint8(stripes * (row % 2 == 0))).save(folder / f"{row}.png")
    done = run_here("audit.py", tmp_path / "data", "--out", tmp_path / "with")
    assert done.returncode == 0, done.stderr
    assert "distinct images, told by an ImageNet network. Of " in done.stdout

    def missing(name: str) -> None:
        assert name == NETWORK
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "read_packaged", missing)
    done = run_here("audit.py", tmp_path / "data", "--out", tmp_path / "without")
    assert done.returncode == 0, done.stderr
    assert "told by thumbnails alone (a network tells more: pip install" in done.stdout
    assert "told by thumbnails alone" in (tmp_path / "without" / "audit.html").read_text()
    for out in ("with", "without"):
        assert pd.read_csv(tmp_path / out / "labels.csv").columns.tolist() == COLUMNS
    assert pd.read_csv(tmp_path / "with" / "labels.csv")["file_name"].iloc[0] == "glioma/3.png"
    assert (tmp_path / "with" / "labels.png").is_file()
