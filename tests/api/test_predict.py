"""`brainmri predict`: its tables, from files, folders, ZIP files, series and volumes."""

import csv
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from brainmri import load_model
from brainmri.data.pseudonyms import pseudonym
from brainmri.evaluation.backend import Backend
from brainmri.evaluation.inference import Prediction
from brainmri.evaluation.model import LoadedModel
from brainmri.metrics.probabilities import apply_temperature
from brainmri.schemas import read_result

from ..scripts import run_here
from .conftest import Trained
from .series import volume, write_series

TABLES = ("patients.csv", "scans.csv", "rejected.csv")
HASH = r"\b[0-9a-f]{16}\b"


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.integration
def test_the_tables_hold_every_file(trained: Trained, tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "series", volume())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    out = tmp_path / "out" / "found.csv"
    done = run_here("predict.py", trained.run, trained.data / "test", tmp_path / "in", "--out", out)
    assert done.returncode == 1, done.stderr  # one was rejected
    found = rows(out)
    classes = ["glioma", "meningioma", "notumor", "pituitary"]
    assert list(found[0]) == [
        *("path", "plane", "slice", "patient", "predicted"),
        *(f"p_{name}" for name in classes),
        *("prediction_set", "out_of_distribution", "ood_score", "type_doubtful"),
        *("sequence", "sequence_from", "view", "view_from", "few_seen"),
    ]

    # Calibrated, they are those of the run.
    own = pd.read_csv(trained.run / "predictions.csv").set_index("file_name")
    temperature = read_result(trained.run).calibration.temperature
    tested = [row for row in found if not row["patient"]]
    assert len(tested) == (own["split"] == "test").sum()
    for row in tested:
        name = Path(row["path"]).relative_to(trained.data).as_posix()
        expected = apply_temperature(own.loc[[name], [f"p_{label}" for label in classes]].to_numpy(float), temperature)
        assert [float(row[f"p_{label}"]) for label in classes] == pytest.approx(expected[0].tolist(), abs=1e-6)
        assert row["predicted"] == own.loc[name, "predicted"]
        assert row["out_of_distribution"] in ("true", "false")
        assert set(row["prediction_set"].split(";")) <= set(classes)
        assert row["type_doubtful"] == ("" if row["predicted"] == "notumor" else "true")  # of no site that is known
        assert row["sequence_from"] == row["view_from"] == "picture"
        assert row["few_seen"] in ("true", "false", "")
    assert {row["view"] for row in tested} & {"axial", "coronal", "sagittal"}
    assert any(row["few_seen"] for row in tested)  # the run keeps its counts
    assert "The type of tumour is doubtful" in done.stdout

    (patient,) = rows(out.parent / "patients.csv")
    assert list(patient) == [
        *("patient", "predicted", *(f"p_{name}" for name in classes), "tumour_probability", "pooling", "threshold"),
        *("tumour", "interval_low", "interval_high", "slices", "out_of_distribution", "type_doubtful", "few_seen"),
        *("most_suspicious", "carried_by", "scans"),
    ]
    record = read_result(trained.run).pooling
    assert (patient["pooling"], float(patient["threshold"])) == (record.rule.name, pytest.approx(record.threshold))
    assert patient["tumour"] == str(float(patient["tumour_probability"]) > record.threshold).lower()
    shares = dict(one.removesuffix(" %)").split(" (") for one in patient["carried_by"].split(";"))
    assert set(shares) <= {row["path"] for row in found}
    assert sum(map(int, shares.values())) == pytest.approx(100, abs=2)
    assert re.fullmatch(HASH, patient["patient"])
    assert (patient["slices"], patient["scans"]) == ("6", "1")
    (scan,) = rows(out.parent / "scans.csv")
    assert list(scan) == ["scan", *list(patient)[:-1]]
    assert scan["scan"] == str(tmp_path / "in" / "series")
    assert list(scan.values())[1:] == list(patient.values())[:-1]
    of_series = [row for row in found if row["patient"]]
    assert patient["most_suspicious"] in {row["path"] for row in of_series}
    assert [row["slice"] for row in of_series] == list("012345")
    assert {row["plane"] for row in of_series} == {"sagittal"}
    assert {(row["view"], row["view_from"]) for row in of_series} == {("sagittal", "file")}
    assert float(patient["interval_low"]) <= float(patient["interval_high"])

    (rejected,) = rows(out.parent / "rejected.csv")
    assert rejected["path"] == str(tmp_path / "in" / "notes.txt")
    assert rejected["reason"].startswith("This is no kind of file that is known here.")
    assert f"{len(found)} images classified" in done.stdout
    assert "1 rejected" in done.stdout


@pytest.mark.integration
def test_images_of_one_patient_are_pooled(trained: Trained, tmp_path: Path) -> None:
    names = [path.relative_to(trained.data).as_posix() for path in sorted((trained.data / "test").rglob("*.png"))]
    table = tmp_path / "patients.csv"
    table.write_text("file_name,group_id\n" + "".join(f"{name},p{k % 2}\n" for k, name in enumerate(names[:5])))
    arguments = [trained.run, trained.data, "--groups", table, "--out", tmp_path / "out" / "p.csv"]
    done = run_here("predict.py", *arguments)
    assert done.returncode == 1, done.stderr  # index.csv and others are no images
    found = {row["path"]: row["patient"] for row in rows(tmp_path / "out" / "p.csv")}
    assert [found[str(trained.data / name)] for name in names[:6]] == ["p0", "p1", "p0", "p1", "p0", ""]
    assert {row["patient"]: row["slices"] for row in rows(tmp_path / "out" / "patients.csv")} == {"p0": "3", "p1": "2"}
    table.write_text("file_name,group_id\nabsent.png,p0\n")
    refused = run_here("predict.py", *arguments, "--overwrite")
    assert (refused.returncode, refused.stderr) == (
        2,
        f"error: {table}: 1 of its files are not among the inputs, absent.png the first\n",
    )


@pytest.mark.integration
def test_series_of_one_patient_are_pooled_by_a_file_or_their_folder(trained: Trained, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_series(tmp_path / "in" / name, volume())
    (last,) = sorted((tmp_path / "in" / "two").iterdir())[-1:]
    table = tmp_path / "patients.csv"
    table.write_text(f"file_name,group_id\none,p\n{last.relative_to(tmp_path / 'in').as_posix()},p\n")
    arguments = [trained.run, tmp_path / "in", "--groups", table, "--out", tmp_path / "out" / "p.csv"]
    done = run_here("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    (patient,) = rows(tmp_path / "out" / "patients.csv")
    assert (patient["patient"], patient["slices"]) == ("p", "12")
    table.write_text(f"file_name,group_id\ntwo,p\n{last.relative_to(tmp_path / 'in').as_posix()},q\n")
    refused = run_here("predict.py", *arguments, "--overwrite")
    assert refused.returncode == 2
    assert "are of one series, and of two patients" in refused.stderr


def test_what_is_no_slice_of_an_mri_is_rejected_by_what_the_file_says(trained: Trained, tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "t1", volume())
    write_series(tmp_path / "in" / "plan", volume()[:2], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(tmp_path / "in" / "ct", volume()[:2], Modality="CT")
    write_series(tmp_path / "in" / "unknown", volume()[:2], Modality="SECRETNAME")
    done = run_here("predict.py", trained.run, tmp_path / "in", "--out", tmp_path / "out" / "p.csv")
    assert done.returncode == 1, done.stderr
    reasons = Counter(row["reason"] for row in rows(tmp_path / "out" / "rejected.csv"))
    assert reasons == {
        "It is an overview image (localizer), by which a scan is planned.": 2,
        "It is a CT image, not an MRI, by what the file says of itself.": 2,
    }
    assert len(rows(tmp_path / "out" / "p.csv")) == 6 + 2
    assert "SECRETNAME" not in done.stdout + done.stderr


def test_a_series_in_several_folders_is_one_and_a_copy_of_it_another(trained: Trained, tmp_path: Path) -> None:
    files = write_series(tmp_path / "in" / "a", volume())
    (tmp_path / "in" / "b").mkdir()
    for file in files[3:]:
        file.rename(tmp_path / "in" / "b" / file.name)
    run_here("predict.py", trained.run, tmp_path / "in", "--out", tmp_path / "one" / "p.csv")
    (scan,) = rows(tmp_path / "one" / "scans.csv")
    assert (scan["scan"], scan["slices"]) == (str(tmp_path / "in"), "6")
    halves = [tmp_path / "in" / "b", tmp_path / "in" / "a"]
    run_here("predict.py", trained.run, *halves, "--out", tmp_path / "halves" / "p.csv")
    (scan,) = rows(tmp_path / "halves" / "scans.csv")
    assert (scan["scan"], scan["slices"]) == (str(tmp_path / "in"), "6")
    assert [row["slice"] for row in rows(tmp_path / "halves" / "p.csv")] == list("012345")
    shutil.copytree(tmp_path / "in" / "b", tmp_path / "in" / "copy")
    run_here("predict.py", trained.run, tmp_path / "in", "--out", tmp_path / "two" / "p.csv")
    assert [row["slices"] for row in rows(tmp_path / "two" / "scans.csv")] == ["6", "3"]
    run_here("predict.py", trained.run, halves[0], halves[0], "--out", tmp_path / "twice" / "p.csv")
    (scan,) = rows(tmp_path / "twice" / "scans.csv")  # a file that is named twice is taken once
    assert scan["slices"] == "3"


def test_each_series_has_a_name_of_its_own_wherever_its_files_lie(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One series in two folders, and another in the folder around them: by their common folder they would be one."""
    files = write_series(tmp_path / "in" / "a", volume())
    (tmp_path / "in" / "b").mkdir()
    for file in files[3:]:
        file.rename(tmp_path / "in" / "b" / file.name)
    arguments = ["--out", tmp_path / "out" / "p.csv", "--overwrite"]
    monkeypatch.chdir(tmp_path / "in")
    run_here("predict.py", trained.run, ".", *arguments)
    (scan,) = rows(tmp_path / "out" / "scans.csv")
    assert (scan["scan"], scan["slices"]) == (".", "6")
    write_series(tmp_path / "in", volume(4))
    run_here("predict.py", trained.run, tmp_path / "in", *arguments)
    found = {row["scan"]: row["slices"] for row in rows(tmp_path / "out" / "scans.csv")}
    assert sorted(found.values()) == ["4", "6"]
    assert "" not in found


def test_the_series_of_a_patient_are_one_answer_under_a_keyed_hash(trained: Trained, tmp_path: Path) -> None:
    for name, patient in (("t1", "MRN-SECRET-1"), ("t2", "MRN-SECRET-1"), ("x", "MRN-SECRET-2")):
        write_series(tmp_path / "in" / name, volume(4), PatientID=patient)
    for name, study in (("y", "1.2.3"), ("z", "1.2.4"), ("z2", "1.2.4")):
        write_series(tmp_path / "in" / name, volume(2), PatientID="Anonymous", StudyInstanceUID=study)
    (key := tmp_path / "key").write_text("0123456789abcdef0123456789abcdef")
    arguments = [trained.run, tmp_path / "in", "--show", tmp_path / "shown", "--overwrite"]
    done = run_here("predict.py", *arguments, "--out", tmp_path / "out" / "p.csv", "--id_key", key)
    assert done.returncode == 0, done.stderr
    patients = rows(tmp_path / "out" / "patients.csv")
    assert [(row["scans"], row["slices"]) for row in patients] == [("2", "8"), ("1", "4"), ("1", "2"), ("2", "4")]
    assert patients[0]["patient"] == pseudonym(key.read_bytes(), "MRN-SECRET-1")
    scans = rows(tmp_path / "out" / "scans.csv")
    assert [Path(row["scan"]).name for row in scans] == ["t1", "t2", "x", "y", "z", "z2"]
    assert [row["patient"] for row in scans[:3]] == [patients[0]["patient"]] * 2 + [patients[1]["patient"]]
    suspicions = [float(row["tumour_probability"]) for row in (*scans[:2], patients[0])]
    assert suspicions == pytest.approx([suspicions[0]] * 3, abs=1e-4)
    slices = rows(tmp_path / "out" / "p.csv")
    assert {Path(row["path"]).parent.name for row in slices if row["patient"] == patients[0]["patient"]} == {"t1", "t2"}
    assert "6 volumes and series, 4 patients" in done.stdout
    assert f"=> {patients[0]['patient']} (2 files or series): " in done.stdout
    told = [file.read_text() for file in (tmp_path / "out").glob("*.csv")]
    told += [done.stdout, done.stderr, (tmp_path / "shown" / "patients.html").read_text()]
    assert not any("SECRET" in text for text in told)
    assert (tmp_path / "shown" / "patients.html").read_text().count("<img") >= 12
    run_here("predict.py", *arguments, "--out", tmp_path / "own" / "p.csv")
    own = rows(tmp_path / "own" / "patients.csv")
    assert own[0]["patient"] != patients[0]["patient"]
    assert [row["slices"] for row in own] == ["8", "4", "2", "4"]
    assert not list(tmp_path.rglob("*.brainmri-*"))
    found = list(load_model(trained.run).predict_many(tmp_path / "in"))
    assert Counter(Counter(one.patient for one in found).values()) == {8: 1, 4: 2, 2: 1}


def many_images(trained: Trained, folder: Path, count: int) -> Path:
    """A folder of `count` files: links to the test images, again and again."""
    folder.mkdir()
    files = sorted((trained.data / "test").rglob("*.png"))
    for number in range(count):
        (folder / f"{number:04}.png").symlink_to(files[number % len(files)])
    return folder


@pytest.mark.integration
def test_the_same_command_waits_for_another_one(trained: Trained, tmp_path: Path, cache: Path) -> None:
    source = many_images(trained, tmp_path / "in", 1500)
    command = [sys.executable, "-m", "brainmri", "predict", trained.run, source, "--out", tmp_path / "out" / "p.csv"]
    environment = os.environ | {"BRAINMRI_CACHE": str(cache)}
    three = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [one.communicate() for one in three]
    assert [one.returncode for one in three] == [0, 0, 0], said
    assert len(rows(tmp_path / "out" / "p.csv")) == 1500


def test_files_of_others_are_not_overwritten(trained: Trained, tmp_path: Path) -> None:
    image = sorted((trained.data / "test").rglob("*.png"))[0]
    other = sorted((trained.data / "test").rglob("*.png"))[1]
    (tmp_path / "thesis.txt").write_text("mine")
    out = tmp_path / "predictions.csv"
    again = run_here("predict.py", trained.run, image, "--out", out)
    assert again.returncode == 0, again.stderr
    first = out.read_text()
    same = run_here("predict.py", trained.run, image, "--out", out)
    assert (same.returncode, same.stdout.partition("\n")[0]) == (
        0,
        "These predictions are there already; --overwrite makes them again.",
    )
    refused = run_here("predict.py", trained.run, other, "--out", out)
    assert refused.returncode == 2
    assert (
        "holds what was made of other inputs (patients.csv, predictions.csv, rejected.csv, scans.csv)" in refused.stderr
    )
    assert "give an --out in another folder" in refused.stderr
    assert out.read_text() == first
    assert run_here("predict.py", trained.run, other, "--out", out, "--overwrite").returncode == 0
    assert rows(out)[0]["path"] == str(other)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "patients.csv").write_text("name\n")
    foreign = run_here("predict.py", trained.run, other, "--out", tmp_path / "foreign" / "mine.csv")
    assert foreign.returncode == 2
    assert "foreign holds patients.csv that this command did not make" in foreign.stderr
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_without_out_it_writes_into_a_folder_of_its_own(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n")
    done = run_here("predict.py", trained.run, bad)
    assert done.returncode == 1  # nothing was classified
    (folder,) = (tmp_path / "predictions").iterdir()
    assert {file.name for file in folder.iterdir()} == {
        *("predictions.csv", "patients.csv", "scans.csv", "rejected.csv", "made.json")
    }
    assert f"rejected {bad}: This PNG file is broken" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["MODEL", "absent.png"], "absent.png: no such file or folder"),
        (["MODEL", "DATA", "--out", "table.txt"], "--out table.txt: a name that ends in .csv"),
        (["MODEL", "DATA", "--batch_size", "0"], "--batch_size 0: at least 1 is needed"),
        (["./nowhere/model", "DATA"], "no such folder or file"),
    ],
)
def test_a_mistake_is_one_sentence(trained: Trained, arguments: list[str], says: str) -> None:
    places = {"MODEL": trained.run, "DATA": trained.data}
    done = run_here("predict.py", *(places.get(one, one) for one in arguments))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_slices_that_carry_an_answer_are_shown(trained: Trained, tmp_path: Path) -> None:
    """Of a volume, a series and patients whose images lie in files of their own; nothing of another is drawn."""
    write_series(tmp_path / "in" / "series", volume())
    images = trained.data / "test"
    names = [path.relative_to(images).as_posix() for path in sorted(images.rglob("*.png"))]
    (tmp_path / "groups.csv").write_text("file_name,group_id\n" + "".join(f"{name},<p0>\n" for name in names[:9]))
    arguments = [trained.run, images, tmp_path / "in", "--groups", tmp_path / "groups.csv"]
    arguments += ["--out", tmp_path / "out" / "p.csv", "--show", tmp_path / "shown"]
    done = run_here("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "shown" / "patients.html").read_text(encoding="utf-8")
    assert f"The slices that carry each answer: {tmp_path / 'shown' / 'patients.html'}" in done.stdout
    assert "&lt;p0&gt;" in page
    pictures = re.findall(r'<img src="(slices/[\d-]+\.jpg)"', page)
    assert len(pictures) == len(set(pictures)) == 12  # six of each
    assert sorted(pictures) == sorted(
        file.relative_to(tmp_path / "shown").as_posix() for file in (tmp_path / "shown" / "slices").iterdir()
    )
    answers = {row["patient"]: row for row in rows(tmp_path / "out" / "patients.csv")}
    order = sorted(answers, key=lambda one: -float(answers[one]["tumour_probability"]))
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert [heading.replace("&lt;", "<").replace("&gt;", ">") for heading in headings[:2]] == order
    assert re.search(r"share [1-9][\d.]+ %", page)
    others = [*arguments[:2], "--out", tmp_path / "others" / "p.csv", "--show", tmp_path / "shown"]
    refused = run_here("predict.py", *others)
    assert refused.returncode == 2
    assert "shown holds what was made of other inputs" in refused.stderr
    assert not (tmp_path / "others").exists()  # told before the work


class Killed(BaseException):
    """In the place of SIGKILL: nothing catches it."""


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """killed_after(N): the command is killed at its Nth batch; the list counts the images that are classified."""

    classify = LoadedModel.classify

    def arrange(batches: int) -> list[int]:
        counted: list[int] = []

        def counting(self: LoadedModel, images: list, backend: Backend, *told: object) -> list[Prediction]:
            if len(counted) == batches:
                raise Killed
            counted.append(len(images))
            return classify(self, images, backend, *told)

        monkeypatch.setattr(LoadedModel, "classify", counting)
        monkeypatch.setattr("brainmri.evaluation.prediction_tables.SAVE_S", 0.0)
        return counted

    return arrange


@pytest.mark.parametrize("batches", [1, 4, 7])
def test_after_a_kill_the_same_command_goes_on(
    trained: Trained, tmp_path: Path, killed_after: Callable[[int], list[int]], batches: int
) -> None:
    source = tmp_path / "in"
    write_series(source / "a series", volume())
    names = sorted((trained.data / "test").rglob("*.png"))[:12]
    for number, path in enumerate(names):
        shutil.copy(path, source / f"{number:02}.png")
    (source / "05b.txt").write_text("no image")
    groups = tmp_path / "groups.csv"  # whose images lie far from each other
    groups.write_text("file_name,group_id\n" + "".join(f"{k:02}.png,p{k % 2}\n" for k in range(12)))
    arguments = [trained.run, source, "--groups", groups, "--batch_size", "2", "--out"]
    assert run_here("predict.py", *arguments, tmp_path / "one" / "p.csv").returncode == 1
    killed_after(batches)
    with pytest.raises(Killed):
        run_here("predict.py", *arguments, tmp_path / "two" / "p.csv")
    assert not (tmp_path / "two" / "p.csv").exists()  # no table that looks whole
    (unfinished,) = (tmp_path / "two").iterdir()
    written = len(rows(unfinished / "p.csv"))
    classified = killed_after(1000)
    again = run_here("predict.py", *arguments, tmp_path / "two" / "p.csv")
    assert again.returncode == 1
    assert sum(classified) == 12 + 6 - written
    assert written >= 2 * (batches - 1) - 2  # what was in the hands of the threads is not lost by more than that
    for name in ("p.csv", *TABLES):
        one, two = ((tmp_path / run / name).read_text() for run in ("one", "two"))
        hashes = set(re.findall(HASH, two))  # of one patient, and one before and after the kill
        assert len(hashes) == (name != "rejected.csv")
        assert re.sub(HASH, "patient", one) == re.sub(HASH, "patient", two)
    assert sorted(file.name for file in (tmp_path / "two").iterdir()) == sorted(
        file.name for file in (tmp_path / "one").iterdir()
    )
    assert classified  # and once all is there, nothing is classified any more
    del classified[:]
    assert run_here("predict.py", *arguments, tmp_path / "two" / "p.csv").returncode == 1
    assert not classified


def test_what_was_not_finished_is_not_mixed_with_other_inputs(
    trained: Trained, tmp_path: Path, killed_after: Callable[[int], list[int]]
) -> None:
    out = tmp_path / "out" / "p.csv"
    killed_after(2)
    arguments = [trained.run, trained.data / "test", "--batch_size", "2", "--out", out]
    with pytest.raises(Killed):
        run_here("predict.py", *arguments)
    classified = killed_after(1000)
    for changed in ([trained.run, trained.data / "validation", "--out", out], [*arguments, "--backend", "torch"]):
        refused = run_here("predict.py", *changed)
        assert refused.returncode == 2
        assert "holds unfinished predictions of another model, other inputs or settings" in refused.stderr
    assert run_here("predict.py", *arguments[:2], "--backend", "torch", "--out", out, "--overwrite").returncode == 0
    assert sum(classified) == len(rows(out))
    assert {file.name for file in out.parent.iterdir()} == {"p.csv", *TABLES, "made.json"}


def test_a_kill_between_the_moves_loses_nothing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "p.csv"
    arguments = [trained.run, trained.data / "test", "--out", out]
    with monkeypatch.context() as patched:

        def killed(*_: object) -> None:
            raise Killed

        patched.setattr("brainmri.evaluation.prediction_tables.record_output", killed)
        with pytest.raises(Killed):
            run_here("predict.py", *arguments)
    monkeypatch.setattr(LoadedModel, "classify", None)
    assert run_here("predict.py", *arguments).returncode == 0
    assert len(rows(out)) > 10
    assert {file.name for file in out.parent.iterdir()} == {"p.csv", *TABLES, "made.json"}


def test_an_empty_folder_is_a_mistake(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_here("predict.py", trained.run, tmp_path / "empty", "--out", tmp_path / "out" / "p.csv")
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path / 'empty'}: no files there\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.integration
def test_a_process_that_is_killed_goes_on(trained: Trained, tmp_path: Path, cache: Path) -> None:
    """With SIGKILL, and without torch, whose import alone takes longer than classifying some hundred slices."""
    source = many_images(trained, tmp_path / "in", 3000)
    run_here(
        "predict.py", trained.run, source / "0000.png", "--out", tmp_path / "first" / "p.csv"
    )  # writes the ONNX file
    code = "import sys; from brainmri.cli import predict; from brainmri.cli.command import call\n"
    code += (
        "def main():\n    status = predict.main()\n    assert 'torch' not in sys.modules\n    return status\ncall(main)"
    )
    command = [sys.executable, "-c", code, str(trained.run), str(source), "--out"]
    environment = os.environ | {"BRAINMRI_CACHE": str(cache), "OMP_NUM_THREADS": "2"}
    whole = subprocess.run([*command, tmp_path / "one" / "p.csv"], env=environment, capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    with subprocess.Popen(
        [*command, tmp_path / "two" / "p.csv"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        while not list((tmp_path / "two").glob(".brainmri-*/progress.json")) and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    if process.returncode == 0:
        pytest.skip("this machine is done before it can be killed")
    done = subprocess.run([*command, tmp_path / "two" / "p.csv"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Going on after" in done.stdout
    for name in ("p.csv", *TABLES):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
