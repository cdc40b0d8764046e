"""What a data set holds now: edits of any kind are seen, and what is derived from the files follows them."""

import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainmri.data import file_digests as digests_module
from brainmri.data.dataset import PreparedData, as_binary, open_prepared
from brainmri.data.file_digests import content_fingerprint, file_digests
from brainmri.data.folds import folds_of, with_fold
from brainmri.data.pixel_cache import image_summaries, pixel_cache
from brainmri.data.prepare import prepare
from brainmri.data.source import prepared_data
from brainmri.evaluation.baselines import cached_baselines

from .sources import class_folders, noise, save


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedData:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    return open_prepared(prepare(class_folders(tmp_path / "raw", {"glioma": 20, "notumor": 15}), tmp_path / "ready"))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files made a moment ago count as old ones, whose quick look is remembered."""
    monkeypatch.setattr(digests_module, "SETTLED_NS", -(10**12))


def first_file(data: PreparedData) -> Path:
    return data.root / data.index["file_name"].iloc[0]


def edit_unnoticed(path: Path, seed: int = 900) -> None:
    """Another image in a BMP file, which leaves name, size, mtime and inode as they were."""
    old, new = path.stat(), io.BytesIO()
    Image.fromarray(noise(seed)).save(new, "BMP")
    with path.open("r+b") as file:
        file.write(new.getvalue())
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


def as_bitmaps(data: PreparedData) -> PreparedData:
    """All images as BMP files, which are of one size whatever they show."""
    for number, name in enumerate(data.index["file_name"]):
        with Image.open(data.root / name) as image:
            image.save(data.root / name, "BMP")
        os.utime(data.root / name, ns=(10**18 + number, 10**18 + number))
    return data


def test_an_edit_with_size_mtime_and_inode_restored_gives_the_new_pixels(data: PreparedData, settled: None) -> None:
    as_bitmaps(data)
    before, old = pixel_cache(data, 16).first[0].copy(), first_file(data).stat()
    edit_unnoticed(first_file(data))
    now = first_file(data).stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (old.st_size, old.st_mtime_ns, old.st_ino)
    after = pixel_cache(data, 16).first[0]
    np.testing.assert_array_equal(after, noise(900))
    assert not np.array_equal(before, after)


def test_two_edits_within_one_tick_of_the_clock_are_both_seen(
    data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system whose clock stands still: every quick look of a file is the same one."""
    as_bitmaps(data)
    seen: dict[Path, digests_module.Look] = {}
    look = digests_module._look
    monkeypatch.setattr(digests_module, "_look", lambda path: seen.setdefault(path, look(path)))
    for seed in (900, 901):
        edit_unnoticed(first_file(data), seed)
        np.testing.assert_array_equal(pixel_cache(data, 16).first[0], noise(seed))


def test_an_edited_copy_with_the_same_records_has_its_own_pixels_and_floors(data: PreparedData) -> None:
    original, floors = pixel_cache(data, 16).first[0].copy(), cached_baselines(data, image_summaries(data, 16))
    copy = replace(data, root=Path(shutil.copytree(data.root, data.root.with_name("copy"))))
    assert content_fingerprint(copy) == content_fingerprint(data)
    np.testing.assert_array_equal(pixel_cache(copy, 16).first[0], original)
    for name in copy.index["file_name"]:  # two images, one for each class
        save(noise(700 + ("/glioma/" in name)), copy.root / name)
    assert copy.info.fingerprint == data.info.fingerprint
    assert content_fingerprint(copy) != content_fingerprint(data)
    assert pixel_cache(copy, 16).first[:].tobytes() != pixel_cache(data, 16).first[:].tobytes()
    assert cached_baselines(copy, image_summaries(copy, 16)).nearest_neighbour == 1 > (floors.nearest_neighbour or 0)
    assert cached_baselines(data, image_summaries(data, 16)) == floors


def test_only_files_whose_quick_look_differs_are_read_again(
    data: PreparedData, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = data.index["file_name"].tolist()
    first = file_digests(data.root, names)
    read: list[str] = []
    real = digests_module._read
    monkeypatch.setattr(digests_module, "_read", lambda path, look: read.append(path.name) or real(path, look))
    assert file_digests(data.root, names) == first
    assert read == []
    edit_unnoticed(first_file(data))
    changed = file_digests(data.root, names)
    assert read == [first_file(data).name]
    assert changed[1:] == first[1:]
    assert changed[0] != first[0]


def test_a_damaged_table_of_quick_looks_is_made_anew(data: PreparedData, settled: None, tmp_path: Path) -> None:
    first = content_fingerprint(data)
    (table,) = (tmp_path / "cache" / "contents").iterdir()
    for broken in (b"", table.read_bytes()[:-7], b"text", np.zeros(3).tobytes()):
        table.write_bytes(broken)
        assert content_fingerprint(data) == first


def test_the_table_names_no_file_and_lies_outside_the_data(data: PreparedData, settled: None, tmp_path: Path) -> None:
    before = sorted(data.root.rglob("*"))
    content_fingerprint(data)
    (table,) = (tmp_path / "cache" / "contents").iterdir()
    assert not any(Path(name).stem.encode() in table.read_bytes() for name in data.index["file_name"])
    assert sorted(data.root.rglob("*")) == before


def test_folds_and_merged_classes_share_the_pixels_but_not_the_fingerprint(tmp_path: Path, data: PreparedData) -> None:
    pixel_cache(data, 16)
    fold = with_fold(data, folds_of(data, 3), 0)
    merged = as_binary(data, ["glioma"])
    for derived in (fold, merged):
        pixel_cache(derived, 16)
    assert len([path for path in (tmp_path / "cache" / "pixels").iterdir() if path.is_dir()]) == 1
    assert len({content_fingerprint(one) for one in (data, fold, merged)}) == 3


def test_files_that_cannot_be_decoded_any_more_are_named(data: PreparedData) -> None:
    names = data.index["file_name"].tolist()
    whole = (data.root / names[0]).read_bytes()
    (data.root / names[0]).write_bytes(whole[: len(whole) // 2])
    (data.root / names[5]).write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot be read as an image .*: prepare the data again$") as found:
        pixel_cache(data, 16)
    assert str(data.root / names[0]) in str(found.value)
    assert str(data.root / names[5]) in str(found.value)
    with pytest.raises(ValueError, match=r"cannot be read as an image"):
        cached_baselines(data, image_summaries(data, 16))
    (data.root / names[0]).unlink()
    with pytest.raises(ValueError, match=rf"{names[0]} cannot be read \(No such file"):
        content_fingerprint(data)


def test_a_file_that_changes_between_two_looks_is_told(data: PreparedData, monkeypatch: pytest.MonkeyPatch) -> None:
    names = data.index["file_name"].tolist()
    before = file_digests(data.root, names)
    monkeypatch.setattr("brainmri.data.pixel_cache.file_digests", lambda root, names: before)
    save(noise(77), first_file(data), format="PNG")
    with pytest.raises(ValueError, match=r"it changed while it was read"):
        pixel_cache(data, 16)


def test_a_raw_folder_is_prepared_again_after_an_edit_that_leaves_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: None
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    raw = class_folders(tmp_path / "raw", {"glioma": 12, "notumor": 12})
    for file in raw.rglob("*.png"):
        with Image.open(file) as image:
            image.save(file, "BMP")
    first = prepared_data(str(raw), "grouped", insist=False)
    assert prepared_data(str(raw), "grouped", insist=False).root == first.root
    edit_unnoticed(next(raw.rglob("*.png")))
    again = prepared_data(str(raw), "grouped", insist=False)
    assert again.root != first.root
    assert again.info.fingerprint != first.info.fingerprint
    table = raw / "labels.csv"
    names = sorted(file.relative_to(raw).as_posix() for file in raw.rglob("*.png"))
    table.write_text("file_name,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in names))
    of_table = prepared_data(str(table), "grouped", insist=False)
    edit_unnoticed(next(raw.rglob("*.png")), 901)  # the table itself stays as it is
    assert prepared_data(str(table), "grouped", insist=False).root != of_table.root


def test_figures_on_an_edited_set_do_not_go_under_its_old_fingerprint(
    data: PreparedData, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert prepared_data(str(data.root), "grouped", insist=False).info == data.info
    save(noise(77), first_file(data), format="PNG")
    edited = prepared_data(str(data.root), "grouped", insist=False)
    assert edited.info.fingerprint != data.info.fingerprint
    assert "are not those that were prepared" in caplog.text
    assert json.loads((data.root / "dataset.json").read_text())["fingerprint"] == data.info.fingerprint
