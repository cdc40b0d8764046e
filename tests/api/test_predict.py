"""`brainmri predict`: three tables, from files, folders, ZIP files, series and volumes."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from brainmri.metrics.probabilities import apply_temperature
from brainmri.schemas import read_result

from ..scripts import run_here
from .conftest import Trained
from .series import volume, write_series


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_tables_hold_every_file(trained: Trained, tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "series", volume())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    out = tmp_path / "out" / "found.csv"
    done = run_here("predict.py", trained.run, trained.data / "test", tmp_path / "in", "--out", out)
    assert done.returncode == 0, done.stderr
    found = rows(out)
    classes = ["glioma", "meningioma", "notumor", "pituitary"]
    assert list(found[0]) == [
        *("path", "plane", "slice", "patient", "predicted"),
        *(f"p_{name}" for name in classes),
        *("prediction_set", "out_of_distribution", "ood_score"),
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
        assert set(row["prediction_set"].split(";")) <= {*classes, "{}"}

    (patient,) = rows(out.parent / "patients.csv")
    assert (patient["patient"], patient["slices"]) == (str(tmp_path / "in" / "series"), "6")
    of_series = [row for row in found if row["patient"]]
    assert patient["most_suspicious"] in {row["path"] for row in of_series}
    assert [row["slice"] for row in of_series] == list("012345")
    assert {row["plane"] for row in of_series} == {"sagittal"}
    assert float(patient["interval_low"]) <= float(patient["interval_high"])

    (rejected,) = rows(out.parent / "rejected.csv")
    assert rejected["path"] == str(tmp_path / "in" / "notes.txt")
    assert rejected["reason"].startswith("This is no kind of file that is known here.")
    assert f"{len(found)} images classified" in done.stdout
    assert "1 rejected" in done.stdout


def test_images_of_one_patient_are_pooled(trained: Trained, tmp_path: Path) -> None:
    names = [path.relative_to(trained.data).as_posix() for path in sorted((trained.data / "test").rglob("*.png"))]
    table = tmp_path / "patients.csv"
    table.write_text("file_name,group_id\n" + "".join(f"{name},p{k % 2}\n" for k, name in enumerate(names[:5])))
    arguments = [trained.run, trained.data, "--groups", table, "--out", tmp_path / "out" / "p.csv"]
    done = run_here("predict.py", *arguments)
    assert done.returncode == 0, done.stderr
    found = {row["path"]: row["patient"] for row in rows(tmp_path / "out" / "p.csv")}
    assert [found[str(trained.data / name)] for name in names[:6]] == ["p0", "p1", "p0", "p1", "p0", ""]
    assert {row["patient"]: row["slices"] for row in rows(tmp_path / "out" / "patients.csv")} == {"p0": "3", "p1": "2"}
    table.write_text("file_name,group_id\nabsent.png,p0\n")
    refused = run_here("predict.py", *arguments, "--overwrite")
    assert (refused.returncode, refused.stderr) == (
        2,
        f"error: {table}: 1 of its files are not among the inputs, absent.png the first\n",
    )


def test_files_of_others_are_not_overwritten(trained: Trained, tmp_path: Path) -> None:
    image = sorted((trained.data / "test").rglob("*.png"))[0]
    other = sorted((trained.data / "test").rglob("*.png"))[1]
    (tmp_path / "thesis.txt").write_text("mine")
    out = tmp_path / "predictions.csv"
    again = run_here("predict.py", trained.run, image, "--out", out)
    assert again.returncode == 0, again.stderr
    first = out.read_text()
    assert run_here("predict.py", trained.run, image, "--out", out).returncode == 0  # the same once more
    refused = run_here("predict.py", trained.run, other, "--out", out)
    assert refused.returncode == 2
    assert "holds what was made of other inputs" in refused.stderr
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
        *("predictions.csv", "patients.csv", "rejected.csv", "made.json")
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
