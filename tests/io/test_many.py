"""Many files at once, and the data set for the audit."""

import io
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from brainmri.data.layouts import detect_layout, read_layout
from brainmri.demo.unpack import unpack_dataset
from brainmri.io.archive import SHOWN, safe_path, shown_name
from brainmri.io.inputs import found_inputs
from brainmri.io.limits import LIMITS, Limits, UploadError
from brainmri.io.open import open_many
from brainmri.io.read import read_image

from .good import NOISE, RAMP, archive, dicom, image, pages, volume
from .hostile import _exif_bomb, _segment

PNG = image("PNG")


def names(answers) -> list[str]:
    return [name for name, _ in answers]


def files_below(root) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_files_folders_and_archives_together(put, tmp_path):
    put(PNG, "folder/inner/b.png")
    put(b"x", "folder/.hidden")
    (tmp_path / "folder" / "link.png").symlink_to(put(PNG, "elsewhere.png"))
    paths = [
        put(PNG, "a.png"),
        put(b"<svg/>", "bad.png"),
        tmp_path / "folder",
        put(archive({"glioma/c.png": PNG, "glioma/d.dcm": dicom(), "e.txt": b"text"}), "many.zip"),
        put(volume(), "head.nii.gz"),
        tmp_path / "missing.png",
    ]
    answers = list(open_many(paths))
    expected = ["a.png", "bad.png", "inner/b.png", "glioma/c.png", "glioma/d.dcm", "e.txt", "head.nii.gz"]
    assert names(answers) == [*expected, "missing.png"]
    drawn = [isinstance(answer, Image.Image) for _, answer in answers]
    assert drawn == [True, False, True, True, True, False, True, False]
    assert all(isinstance(answer, (Image.Image, UploadError)) for _, answer in answers)
    assert np.array_equal(answers[3][1], NOISE)


def test_middle_slices(put):
    stack = np.stack([np.roll(RAMP, number) for number in range(5)])
    head = np.random.default_rng(0).integers(0, 1000, (20, 24, 16)).astype(np.int16)
    paths = [put(pages(5), "a.tif"), put(dicom(stack, frames=5), "b.dcm"), put(volume(head), "c.nii.gz")]
    found = [answer for _, answer in open_many(paths)]
    assert np.array_equal(found[0], np.roll(NOISE, 2, 1))
    assert np.asarray(found[1]).shape == RAMP.shape
    assert found[2].size == (20, 24)


def test_files_are_opened_one_after_the_other(put, monkeypatch):
    opened = []
    monkeypatch.setattr("brainmri.io.open.open_bytes", lambda data, limits: opened.append(1) or fail())

    def fail():
        raise UploadError("This is a test. Go on.")

    answers = open_many([put(archive({f"{n}.png": PNG for n in range(9)}), "a.zip")])
    next(answers)
    next(answers)
    assert len(opened) == 2


def test_too_many_files(put):
    paths = [put(PNG, f"{number}.png") for number in range(5)]
    answers = list(open_many(paths, Limits(images=3)))
    assert len(answers) == 4
    assert "Only the first 3 files" in str(answers[-1][1])
    assert all(isinstance(answer, Image.Image) for _, answer in open_many(paths[:3], Limits(images=3)))


def test_a_broken_archive_does_not_stop_the_others(put):
    answers = list(open_many([put(archive({"a.png": PNG})[:-9], "bad<b>.zip"), put(PNG, "a.png")]))
    assert names(answers) == ["bad_b_.zip", "a.png"]
    assert "broken" in str(answers[0][1])
    assert isinstance(answers[1][1], Image.Image)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(archive_bytes=100), "larger than"),
        (Limits(archive_members=2), "more than 2 files"),
        (Limits(unpacked_bytes=1000), "unpacks to more than"),
        (Limits(unpacked_ratio=1, unchecked_bytes=0), "more than 1 times its size"),
        (Limits(archive_depth=1), "more than 1 folders"),
    ],
)
def test_limits_of_archives(put, tmp_path, limits, words):
    path = put(archive({f"a/{n}.png": PNG + b"\0" * 1000 for n in range(3)}), "a.zip")
    (answer,) = [answer for _, answer in open_many([path], limits)]
    assert words in str(answer)
    with pytest.raises(UploadError, match=words):
        unpack_dataset(path, tmp_path / "out", limits)
    assert not (tmp_path / "out").exists()


def test_a_member_that_is_too_large_is_answered_alone(put):
    path = put(archive({"a.png": PNG, "b.png": PNG + b"\0" * 100}), "a.zip")
    first, second = (answer for _, answer in open_many([path], Limits(file_bytes=len(PNG))))
    assert isinstance(first, Image.Image)
    assert "larger than" in str(second)


@pytest.mark.parametrize("top", ["", "my set/"])
def test_a_data_set_keeps_its_folders(put, tmp_path, top):
    members = {
        f"{top}Training/glioma/a.png": PNG,
        f"{top}Testing/notumor/b.JPG": image("JPEG"),
        f"{top}Training/notumor/c.tif": image("TIFF", np.roll(NOISE, 5)),
        f"{top}Training/notumor/broken.png": PNG[:200],
        f"{top}Training/glioma/page.png": b"<html><script>alert(1)</script></html>" * 100,
        f"{top}README.txt": b"read me",
        f"{top}run.py": b"import os",
        f"{top}.DS_Store": b"x",
        f"__MACOSX/{top}Training/glioma/._a.png": b"x",
        f"{top}Training/glioma/Thumbs.db": b"x",
    }
    found = unpack_dataset(put(archive(members), "set.zip"), tmp_path / "out")
    root, on_disk = found.root, {name: place for place, name in found.names.items()}
    assert found.name == top.strip("/")
    assert set(on_disk) == {
        "Training/glioma/a.png",
        "Testing/notumor/b.JPG",
        "Training/notumor/c.tif",
        "Training/notumor/broken.png",
        "Training/glioma/page.png",
    }
    assert files_below(root) == sorted(found.names)
    assert on_disk["Testing/notumor/b.JPG"] == "Testing/notumor/00000.jpg"  # no name of a file is on the disk
    table = read_layout(root, detect_layout(root))
    assert sorted(set(table["label"])) == ["glioma", "notumor"]
    assert np.array_equal(read_image(root / on_disk["Training/glioma/a.png"]).image, NOISE)
    assert (root / on_disk["Training/glioma/page.png"]).stat().st_size <= 512
    for name in ("Training/notumor/broken.png", "Training/glioma/page.png"):
        with pytest.raises(ValueError, match=r"broken|not an image"):
            read_image(root / on_disk[name])


def test_folders_of_patients_are_not_unpacked_and_names_keep_their_order(put, tmp_path):
    members = {f"set/Training/glioma/{who}/{who}{k}.png": PNG for who in ("Zoe^A", "Anna^B") for k in range(2)}
    members |= {f"set/Testing/notumor/{who}.png": PNG for who in ("Carl^C", "carl.glioma")}
    found = unpack_dataset(put(archive(members), "set.zip"), tmp_path / "out")
    assert {path for path in files_below(tmp_path / "out") if "^" in path} == set()
    assert [found.names[place] for place in sorted(found.names)] == sorted(name[4:] for name in members)
    assert "Testing/notumor/00001_glioma.png" in found.names  # what the layout kaggle-multimodal reads of a name


def test_one_folder_of_images_is_a_class_and_stays(put, tmp_path):
    found = unpack_dataset(put(archive({"glioma/a.png": PNG, "glioma/b.png": PNG}), "a.zip"), tmp_path / "out")
    assert files_below(found.root) == ["glioma/00000.png", "glioma/00001.png"]


def test_what_is_unpacked_is_safe_for_the_audit(put, tmp_path):
    """The audit opens images with Pillow alone, which follows every note in them."""
    jpeg = image("JPEG")
    bomb = jpeg[:2] + _segment(0xE1, b"Exif\0\0" + _exif_bomb(4500, 10_000)) + jpeg[2:] + archive({"a.png": PNG})
    wide = image("PNG", np.zeros((3000, 5593), np.uint8))
    root = unpack_dataset(put(archive({"a/a.jpg": bomb, "a/wide.png": wide}), "a.zip"), tmp_path / "out").root
    assert (root / "a/00000.jpg").stat().st_size < len(jpeg) + 100
    assert (root / "a/00001.png").stat().st_size <= 512


def test_what_is_no_archive(put, tmp_path):
    with pytest.raises(UploadError, match="no ZIP file"):
        unpack_dataset(put(PNG, "a.zip"), tmp_path / "out")
    with pytest.raises(UploadError, match="no ZIP file"):
        unpack_dataset(tmp_path / "missing.zip", tmp_path / "out")


def test_a_full_disk_is_said_plainly(put, tmp_path):
    with pytest.raises(UploadError, match="could not be unpacked"):
        unpack_dataset(put(archive({"a/a.png": PNG}), "a.zip"), put(b"", "in the way"))


@given(st.text(max_size=300))
def test_shown_names(name):
    shown = shown_name(name)
    assert 0 < len(shown) <= SHOWN
    assert shown.isprintable()
    assert not set(shown) & set("<>\"'`&|*[](){}\\")
    assert shown[0] not in "=+-@"


def test_usual_names_are_shown_as_they_are():
    for name in ("Tr-gl_0010.jpg", "glioma/Y 12.png", "Schädel-№4.dcm", "脳.nii.gz"):
        assert shown_name(name) == name
    assert shown_name("a\u202egnp.exe") == "agnp.exe"
    assert shown_name("=HYPERLINK(1)") == "_=HYPERLINK_1_"
    assert shown_name("a" * 100 + ".png").endswith("a.png")


parts = st.sampled_from(
    ["..", ".", "", "a", "b.png", "C:", "con", "NUL.png", "a\\b", "\0", " ", "x" * 300, "ü", "\u202e"]
)
paths = st.one_of(st.text(min_size=1, max_size=60), st.lists(parts, min_size=1, max_size=12).map("/".join))


@given(paths)
def test_safe_paths_stay_below_their_folder(name):
    try:
        path = safe_path(name, LIMITS)
    except UploadError:
        return
    assert not path.is_absolute()
    assert not {"..", ".", ""} & set(path.parts)
    assert len(path.parts) <= LIMITS.archive_depth
    assert str(path).isprintable() and "\\" not in str(path) and ":" not in str(path)


def test_usual_paths_are_safe():
    for name in ("Training/glioma/Tr-gl_0010.jpg", "set/yes/Y 12.png", "ä/№4.png", "folder/", "a..b/c...png"):
        assert str(safe_path(name, LIMITS)) == name.removesuffix("/")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(paths, min_size=1, max_size=4))
def test_archives_with_any_names(tmp_path_factory, given_names):
    folder = tmp_path_factory.mktemp("any")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in given_names:
            try:
                opened.writestr(name, PNG)
            except (ValueError, IndexError):  # a name that cannot be written
                return
    (folder / "a.zip").write_bytes(file.getvalue())
    answers = list(open_many([folder / "a.zip"]))
    assert all(isinstance(answer, (Image.Image, UploadError)) for _, answer in answers)
    try:
        root = unpack_dataset(folder / "a.zip", folder / "out").root
    except UploadError:
        assert not (folder / "out").exists()
        return
    assert root.is_relative_to(folder / "out")
    assert {path.name for path in folder.iterdir()} == {"a.zip", "out"}


def test_a_file_that_several_places_name_is_taken_once(tmp_path, monkeypatch):
    folder = tmp_path / "many"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    with found_inputs(["many/b.png", folder / "b.png", "many/../many", "many"]) as inputs:
        assert [one.path for one in inputs] == ["many/b.png", "many/../many/a.png"]
