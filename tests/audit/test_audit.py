"""The real command on folders whose repetitions are known, because the test made them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri.audit.duplicates import counts
from brainmri.data.phantom.generate import draw_slices, draw_subject
from brainmri.data.tables import read_label_csv
from brainmri.io.decode import pixel_hash

from ..scripts import SCRIPTS, run_here


def audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_here("audit.py", *arguments)


def fresh(number: int) -> Image.Image:
    """A slice of a subject of its own."""
    rng = np.random.default_rng([6, number])
    return Image.fromarray(draw_slices(rng, draw_subject(rng, number), 1, 96)[0][2])


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Slices of different subjects and planes, none like another."""
    found = []
    for number in range(8):
        rng = np.random.default_rng([5, number])
        found.append(draw_slices(rng, draw_subject(rng, number), 1, 96)[0][2])
    return [Image.fromarray(image) for image in found]


@pytest.fixture(scope="module")
def data(images: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audit") / "scans"

    def save(name: str, image: Image.Image) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(root / name)

    for number, image in enumerate(images):
        save(f"train/{'glioma' if number % 2 else 'notumor'}/s{number}.png", image)
    save("test/glioma/copy.png", images[1].convert("RGB"))  # equal pixels, in another mode
    mirrored = images[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save("test/glioma/mirrored.jpg", mirrored.point(lambda value: min(255, round(value * 1.2))))
    save("test/notumor/turned.png", images[5].transpose(Image.Transpose.ROTATE_180))  # a glioma in train
    rng = np.random.default_rng([6, 0])
    save("test/notumor/own.png", Image.fromarray(draw_slices(rng, draw_subject(rng, 99), 1, 96)[0][2]))
    (root / "test" / "notumor" / "broken.png").write_bytes(b"no image")
    return root


@pytest.mark.integration
def test_leaks_contradictions_and_broken_files_are_found(data: Path, tmp_path: Path) -> None:
    before = sorted((path, path.read_bytes()) for path in data.rglob("*.*"))
    done = subprocess.run(  # as a user runs it; the other tests stay in this process
        [sys.executable, SCRIPTS / "audit.py", data, "--out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "LEAK: 3 of 4 images (75.0 %) of test stand in train too." in done.stdout
    assert "CONTRADICTORY LABELS: images with more than one: 1, first test/notumor/turned.png" in done.stdout
    found = json.loads((tmp_path / "audit.json").read_text())
    assert (found["images"], found["parts"]) == (12, {"test": 4, "train": 8})
    assert [file["file_name"] for file in found["rejected"]] == ["test/notumor/broken.png"]
    kinds = {kind["kind"]: kind for kind in found["kinds"]}
    assert (kinds["exact"]["images"], kinds["exact"]["sets"]) == (2, 1)
    assert (kinds["same_picture"]["images"], kinds["same_picture"]["sets"]) == (6, 3)
    assert kinds["same_picture"]["contradictory"] == [["test/notumor/turned.png", "train/glioma/s5.png"]]
    assert {"part": "test", "in": "train", "images": 1, "of": 4} in kinds["exact"]["across"]

    groups = pd.read_csv(tmp_path / "groups.csv").set_index("file_name")
    assert list(groups.columns) == ["label", "duplicate_id", "group_id", "kind", "score"]
    assert len(groups) == 12
    assert groups.loc["test/glioma/copy.png", "kind"] == groups.loc["train/glioma/s1.png", "kind"] == "exact"
    assert groups.loc["test/glioma/copy.png", "score"] == pytest.approx(1, abs=1e-3)
    for one, other in (("copy.png", "s1.png"), ("mirrored.jpg", "s3.png")):
        pair = groups.loc[[f"test/glioma/{one}", f"train/glioma/{other}"]]
        assert pair["duplicate_id"].nunique() == pair["group_id"].nunique() == 1
    assert groups.loc["test/notumor/own.png", "kind"] == "alone"
    assert np.isnan(groups.loc["test/notumor/own.png", "score"])

    page = (tmp_path / "audit.html").read_text()
    assert page.count("data:image/png;base64,") == 3  # equal pixels, the same image, contradictory
    assert "test/notumor/broken.png" in page
    assert "http" not in page
    for name in ("exact", "same_picture", "contradictory"):
        assert min(Image.open(tmp_path / f"{name}.png").size) > 200
    assert not (tmp_path / "other.png").exists()
    assert sorted((path, path.read_bytes()) for path in data.rglob("*.*")) == before


@pytest.mark.integration
def test_an_external_set_that_is_none_is_named(data: Path, images: list[Image.Image], tmp_path: Path) -> None:
    other = tmp_path / "clinic"
    for name, image in (
        ("tumour/a.png", images[2].resize((200, 200))),
        ("tumour/c.png", images[1].convert("RGB")),
        ("tumour/d.png", images[7].transpose(Image.Transpose.ROTATE_90)),
        ("healthy/b.png", fresh(77)),
    ):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(other / name)
    done = audit(data, "--against", other, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "NOT EXTERNAL: 3 of 4 images (75.0 %) of clinic stand in train too." in done.stdout
    assert "EXTERNAL: 1 of 4 images of clinic neither are nor look like one of scans" in done.stdout
    assert f"{tmp_path / 'out' / 'clean.csv'}, relative to {other}" in done.stdout
    found = pd.read_csv(tmp_path / "out" / "matches.csv")
    assert found["path"].tolist() == ["tumour/a.png", "tumour/c.png", "tumour/d.png"]
    assert found["kind"].tolist() == ["same_picture", "exact", "same_picture"]
    assert found["matched_path"].iloc[[0, 2]].tolist() == ["train/notumor/s2.png", "train/glioma/s7.png"]
    assert (tmp_path / "out" / "changed.png").is_file()
    assert found["matched_path"].iloc[1] in ("train/glioma/s1.png", "test/glioma/copy.png")
    assert found["similarity"].between(0.9, 1).all()
    assert pd.read_csv(tmp_path / "out" / "clean.csv").to_numpy().tolist() == [["healthy/b.png", "healthy"]]
    table = read_label_csv(tmp_path / "out" / "clean.csv", other)  # as prepare reads it, with --image_root
    assert all((other / name).is_file() for name in table["path"])
    groups = pd.read_csv(tmp_path / "out" / "groups.csv")
    assert len(groups) == 12  # of the first set alone
    assert (tmp_path / "out" / "other.png").is_file()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["scans", "train"])
def test_a_second_set_with_the_name_of_the_first_or_of_its_part_stays_apart(
    data: Path, images: list[Image.Image], tmp_path: Path, name: str
) -> None:
    other = tmp_path / "elsewhere" / name
    for place, image in (("tumour/a.png", images[2]), ("healthy/b.png", fresh(77))):
        (other / place).parent.mkdir(parents=True, exist_ok=True)
        image.save(other / place)
    done = audit(data, "--against", other.parent, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    done = audit(data, "--against", other, "--out", tmp_path / "b")
    assert f"NOT EXTERNAL: 1 of 2 images (50.0 %) of {name} (other) stand in train too." in done.stdout, done.stdout
    assert f"EXTERNAL: 1 of 2 images of {name} (other)" in done.stdout
    (tmp_path / "pack.zip").write_bytes(b"PK")
    done = audit(data, "--against", tmp_path / "pack.zip", "--out", tmp_path / "c")
    assert (done.returncode, "unpack an archive first" in done.stderr) == (2, True)


@pytest.mark.integration
def test_classes_of_another_vocabulary_do_not_contradict(images: list[Image.Image], tmp_path: Path) -> None:
    copies = {"a": images[0], "b": images[1], "c": images[2]}
    for folder, labels in (
        ("four", {"a": "glioma", "b": "meningioma", "c": "notumor"}),
        ("long", {"a": "glioma_tumor", "b": "pituitary_tumor", "c": "no_tumor"}),
        ("two", {"a": "yes", "b": "yes", "c": "yes"}),
    ):
        for name, label in labels.items():
            (tmp_path / folder / label).mkdir(parents=True, exist_ok=True)
            copies[name].save(tmp_path / folder / label / f"{name}.png")
    (tmp_path / "two" / "no").mkdir()
    images[4].save(tmp_path / "two" / "no" / "d.png")
    for other, wrong in (("long", ["b"]), ("two", ["c"])):
        out = tmp_path / f"against-{other}"
        assert audit(tmp_path / "four", "--against", tmp_path / other, "--out", out).returncode == 0
        kinds = {kind["kind"]: kind for kind in json.loads((out / "audit.json").read_text())["kinds"]}
        for kind in kinds.values():
            assert [{Path(name).stem for name in names} for names in kind["contradictory"]] == [{one} for one in wrong]
        assert (out / "contradictory.png").is_file()


def test_mistakes_are_one_clear_line_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, message in ((tmp_path / "nowhere", "does not exist"), (tmp_path / "empty", "no layout fits")):
        done = audit(place, "--out", tmp_path / "out")
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty slices of as many subjects, in the layout of an array; those with a tumour are brighter."""
    folder = tmp_path_factory.mktemp("audit-arrays") / "arrays"
    folder.mkdir()
    images, labels = [], []
    for number in range(60):
        rng = np.random.default_rng([7, number])
        image = draw_slices(rng, draw_subject(rng, number), 1, 64)[0][2]
        labels.append(number % 2)
        images.append(np.clip(image * (1.0 if number % 2 else 0.5), 0, 255).astype(np.uint8))
    for name, rows in (("train", slice(2, None)), ("test", slice(2))):
        np.savez(folder / f"{name}_data.npz", X=np.stack(images[rows]), Y=np.array(labels[rows]))
    return folder


@pytest.mark.integration
def test_what_gives_the_class_away_is_named(many: Path, tmp_path: Path) -> None:
    done = audit(many, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "SHORTCUT: " in done.stdout
    found = json.loads((tmp_path / "audit.json").read_text())["shortcuts"]
    accuracy = {row["trait"]: row["accuracy"] for row in found["traits"]}
    assert accuracy["brightness"] > 0.9
    assert accuracy["size"] == accuracy["aspect"] == found["majority"] == 0.5
    assert "What gives the class away" in (tmp_path / "audit.html").read_text()


@pytest.mark.integration
def test_a_calibration_says_what_is_found_and_what_is_glued(many: Path, tmp_path: Path) -> None:
    done = audit(many, "--calibrate", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "audit.json").read_text())["calibration"]
    changes = {row["change"]: row["found"] / row["images"] for row in found["changes"]}
    for name in ("mirrored", "turned by 180 degrees", "turned by 90 degrees", "inverted", "JPEG, quality 30"):
        assert changes[name] == 1, name
    # A white frame outweighs what these smooth fields show: then some of them count as one.
    assert {row["change"] for row in found["changes"] if row["wrong"]} <= {"white frame of 5 %"}
    assert changes["rim of 10 % cut off"] > 0.8
    assert changes["black frame of 15 %"] > 0.8
    groups = [row["groups"] for row in found["thresholds"]]
    assert groups == sorted(groups)  # the higher the threshold, the more groups
    assert all(row["next_of"] > 50 and row["distant_of"] > 50 for row in found["thresholds"])
    assert "How far this can be trusted" in (tmp_path / "audit.html").read_text()
    assert "0.58 (in use)" in done.stdout


def test_counts_by_hand() -> None:
    rows = [("a", "x", "train", "1", "p", "g"), ("b", "x", "test", "1", "p", "g"), ("c", "y", "test", "2", "p", "g")]
    rows += [("d", "x", "train", "3", "q", "g"), ("e", "x", "train", "4", "r", "h")]
    table = pd.DataFrame(rows, columns=["file_name", "label", "part", "pixels", "duplicate_id", "group_id"])
    table["other"] = False
    exact, same, neighbour = (kind.as_json() for kind in counts(table))
    assert [(kind["images"], kind["sets"], kind["largest"]) for kind in (exact, same, neighbour)] == [
        (2, 1, 2),
        (3, 1, 3),
        (4, 1, 4),
    ]
    assert same["contradictory"] == [["a", "b", "c"]]
    assert exact["contradictory"] == []
    across = {(row["part"], row["in"]): (row["images"], row["of"]) for row in neighbour["across"]}
    assert across == {("train", "test"): (2, 3), ("test", "train"): (2, 2)}


def test_equal_pixels_have_one_hash_in_grey_and_colour(images: list[Image.Image]) -> None:
    grey, turned = images[0], images[0].transpose(Image.Transpose.ROTATE_90)
    assert pixel_hash(grey) == pixel_hash(grey.convert("RGB"))
    assert pixel_hash(grey) != pixel_hash(turned)
    coloured = grey.convert("RGB")
    coloured.putpixel((0, 0), (9, 0, 0))
    assert pixel_hash(coloured) != pixel_hash(grey)
