"""The study, on models that are known to be fragile, and scripts/evaluate.py --robustness as a user runs it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from brainmri.data.dataset import PreparedData, open_prepared
from brainmri.evaluation import evaluate as evaluate_module
from brainmri.evaluation.class_mapping import match_classes
from brainmri.evaluation.inference import Inference
from brainmri.evaluation.robustness import (
    RobustnessStudy,
    corrupted_answers,
    difference_interval,
    drawn_by_group,
    robustness_study,
)
from brainmri.evaluation.scored import ScoredModel
from brainmri.evaluation.scored import images as scored_images
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor
from brainmri.reporting.robustness_report import study_summary, write_study
from brainmri.reporting.run_report import write_report
from brainmri.transforms.corruptions import CORRUPTIONS, STRENGTHS

from ...conftest import MakeRun, dataset_info
from ...reporting.test_report import Page
from ...scripts import run_here
from ...training.conftest import environment, phantom  # noqa: F401
from ..test_evaluate import Evaluate, evaluate  # noqa: F401

DARK, BRIGHT, THRESHOLD = 20, 60, 40  # mean levels of the two classes, and where the fragile model divides them
LABELS = ["no_tumor", "tumor"]


@pytest.fixture(scope="module")
def lights(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Plain images of two levels: 30 dark ones without a tumour, 20 bright ones with, two to a group."""
    root = tmp_path_factory.mktemp("lights")
    rows = []
    for k in range(50):
        label, level = (LABELS[0], DARK) if k < 30 else (LABELS[1], BRIGHT)
        name = f"test/{label}/{k}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 40), level, np.uint8)).save(root / name)
        rows.append((name, label, "test", f"g{k // 2}", f"p{k}", "oslo" if k % 4 < 2 else "", name))
    index = pd.DataFrame(rows, columns=["file_name", "label", "split", "group_id", "duplicate_id", "site", "source"])
    counts = {"train": {}, "validation": {}, "test": dict(zip(LABELS, (30, 20), strict=True))}
    info = dataset_info(name="lights", fingerprint="0", classes=LABELS, counts=counts, groups=25)
    return PreparedData(root, index, info, LABELS)


def by_brightness(drawn: list[Image.Image]) -> np.ndarray:
    """A model that thresholds the mean brightness."""
    assert {image.mode for image in drawn} <= {"L", "RGB"}
    bright = np.array([np.asarray(image).mean() > THRESHOLD for image in drawn])
    return np.stack([~bright, bright], axis=1).astype(float)


def study_of(data: PreparedData, images: int = 1000, batch_size: int = 8) -> RobustnessStudy:
    def answers(data: PreparedData, rows: np.ndarray) -> Inference:
        return Inference(by_brightness(list(scored_images(data, rows))))

    subject = ScoredModel("lamp", "model", LABELS, "0" * 16, answers, by_brightness)
    match = match_classes(LABELS, data.classes, [])
    evaluation = evaluate_module.evaluate(subject, data, "test", match)
    return robustness_study(subject, data, match, evaluation, images=images, batch_size=batch_size)


def test_a_fragile_model_shows_its_drop_and_where(lights: PreparedData) -> None:
    contents = study_of(lights).contents.as_json()
    clean, *rows = contents["rows"]
    assert (clean["kind"], clean["strength"], clean["accuracy"], clean["drop"]) == ("clean", 0, 1, None)
    assert [(row["kind"], row["strength"]) for row in rows] == [(k, s) for k in CORRUPTIONS for s in range(1, 6)]
    found = {(row["kind"], row["strength"]): row for row in rows}
    # Rician noise of 20 % of white lifts the dark images above the threshold. All are then called a tumour.
    noise = found["noise", 5]
    assert (noise["value"], noise["unit"]) == (20, "% of white")
    assert noise["accuracy"] == pytest.approx(20 / 50)
    assert noise["drop"] == pytest.approx(30 / 50)
    low, high = noise["drop_ci95"]
    assert 0 < low < 0.6 < high
    assert noise["changed"] == 30
    assert (noise["tumours"], noise["sensitivity"], noise["others"], noise["specificity"]) == (20, 1, 30, 0)
    assert (noise["worst_class"], noise["worst_class_n"], noise["worst_class_accuracy"]) == ("no_tumor", 30, 0)
    # Blurring or cutting a plain image changes nothing, which 25 groups cannot make certain.
    for kind in ("blur", "cropping"):
        same = found[kind, 5]
        assert (same["accuracy"], same["drop"], same["changed"]) == (1, 0, 0)
        assert same["drop_ci95"][0] == -same["drop_ci95"][1] < -0.05
    assert contents["majority"] == 0.6
    assert contents["images"] == {"scored": 50, "drawn": 50, "statement": "All 50 images were corrupted."}
    assert {one["site"]: one["n"] for one in contents["groups"]["site"]["all"]} == {"": 24, "oslo": 26}


@pytest.mark.integration
def test_the_page_and_the_summary_name_the_worst_groups(lights: PreparedData, make_run: MakeRun) -> None:
    run = make_run()
    study = study_of(lights)
    write_study(study, run / "robustness")
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    assert "no_tumor 30 15 100.0 % [78.2, 100.0] worst class" in text
    assert "unknown site 24 12 100.0 %" in text
    assert "no_tumor, oslo 16 8 100.0 % [63.1, 100.0] too few" in text
    lines = study_summary(study.contents, run / "robustness").splitlines()
    noise = next(line for line in lines if "noise" in line)
    assert noise.split()[1::2] == [f"{100 * row.accuracy:.1f}" for row in study.contents.rows[11:16]]
    assert "Worst class: no_tumor, 100.0 % [78.2, 100.0] of 30 images (clean)" in lines


@pytest.mark.integration
def test_the_figures_depend_neither_on_the_batch_size_nor_on_the_order(lights: PreparedData) -> None:
    def answer(drawn: list[Image.Image]) -> np.ndarray:
        return np.array([hash(image.tobytes()) for image in drawn])  # tells any two images apart

    names = lights.index["file_name"].tolist()[:9]
    one = corrupted_answers(answer, lights.root, names, batch_size=4)
    other = corrupted_answers(answer, lights.root, names[::-1], batch_size=1)
    assert list(one) == list(CORRUPTIONS)
    for kind, answers in one.items():
        assert answers.shape == (STRENGTHS, 9)
        assert (answers == other[kind][:, ::-1]).all()
    assert len(np.unique(one["noise"])) > 9 * STRENGTHS - 2
    a, b = (study_of(lights, images=20, batch_size=size).contents.rows for size in (3, 50))
    assert a == b


def test_whole_groups_are_drawn_and_every_class_in_its_share() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for group in range(120):
        label = ["glioma", "notumor", "pituitary"][group % 5 % 3]
        rows += [(f"{group}-{k}.png", label, f"g{group}") for k in range(rng.integers(1, 12))]
    table = pd.DataFrame(rows, columns=["file_name", "label", "group_id"])
    drawn = drawn_by_group(table, 200)
    assert drawn.sum() == pytest.approx(200, abs=30)
    assert not set(table["group_id"][drawn]) & set(table["group_id"][~drawn])
    shares = [part["label"].value_counts(normalize=True) for part in (table, table[drawn])]
    assert (shares[0] - shares[1]).abs().max() < 0.05
    mixed = table.sample(frac=1, random_state=1)
    assert set(mixed["file_name"][drawn_by_group(mixed, 200)]) == set(table["file_name"][drawn])
    assert drawn_by_group(table, len(table)).all()
    one_each = table.assign(group_id=table["label"])
    assert drawn_by_group(one_each, 200).all()  # nothing to choose from


def test_equal_differences_claim_no_certainty() -> None:
    groups = [f"g{k // 2}" for k in range(40)]
    assert difference_interval(np.zeros(40, int), groups) == pytest.approx([-0.1684, 0.1684], abs=1e-4)
    assert difference_interval(np.ones(40, int), groups) == pytest.approx([1 - 0.1684, 1], abs=1e-4)
    assert difference_interval(-np.ones(40, int), groups) == pytest.approx([-1, -1 + 0.1684], abs=1e-4)
    low, high = difference_interval(np.repeat([1, 0], 20), groups)
    assert 0.2 < low < 0.5 < high < 0.8
    assert difference_interval(np.zeros(40, int), ["one"] * 40) is None


@pytest.fixture
def run(make_run: MakeRun, phantom: Path) -> Path:  # noqa: F811
    """A run folder on the tiny phantom set, its network with random weights."""
    data = open_prepared(phantom)
    folder = make_run(data__name="phantom tiny", data__fingerprint=data.info.fingerprint)
    recipe = resolve("cnn_4x4", overrides=["input.size=32", "model.arguments.image_size=32"])
    torch.manual_seed(0)
    save_model(build_model(recipe, data.classes, "random")[0], image_processor(32, recipe.input.normalize), folder)
    return folder


@pytest.mark.integration
def test_the_command_on_a_run_fills_its_folder_and_its_report(
    run: Path,
    phantom: Path,  # noqa: F811
    environment: dict[str, str],  # noqa: F811
) -> None:
    assert "<h2>Robustness" not in write_report(run).read_text(encoding="utf-8")
    arguments = (run, "--data", phantom, "--robustness", "--robustness_images", 20)
    done = run_here("evaluate.py", *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    out = run / "robustness"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == [
        "figures/corruptions.png",
        "figures/robustness.png",
        "made.json",
        "robustness.csv",
        "robustness.json",
    ]
    contents = json.loads((out / "robustness.json").read_text(encoding="utf-8"))
    assert set(contents) == {
        *("schema_version", "name", "kind", "command", "created", "run", "data", "split", "own_data", "relation"),
        *("classes", "left_out", "warnings", "environment"),
        *("images", "corruptions", "majority", "rows", "groups"),
    }
    scored, drawn = contents["images"]["scored"], contents["images"]["drawn"]
    assert 0 < drawn < scored == len(open_prepared(phantom).rows("test"))
    table = pd.read_csv(out / "robustness.csv")
    assert len(table) == 1 + len(CORRUPTIONS) * STRENGTHS
    assert (table["n"] == drawn).all()
    shares = ["accuracy", "drop", "sensitivity", "specificity", "worst_class_accuracy"]
    assert list(table.columns) == [
        *("kind", "strength", "value", "unit", "n", "groups", "accuracy", "accuracy_low", "accuracy_high"),
        *("drop", "drop_low", "drop_high", "changed", "tumours", "others"),
        *("sensitivity", "sensitivity_low", "sensitivity_high", "specificity", "specificity_low", "specificity_high"),
        *("worst_class", "worst_class_n", *(f"worst_class_accuracy{end}" for end in ("", "_low", "_high"))),
    ]
    for row, line in zip(contents["rows"], table.to_dict("records"), strict=True):
        for name in shares:
            assert (line[name] == pytest.approx(row[name], abs=1e-5)) if row[name] is not None else pd.isna(line[name])
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert f"{drawn} of the {scored} images were drawn to be corrupted" in page.text
    assert "bias field" in page.text
    assert "None" not in page.text
    assert [image["alt"] for image in page.images][-2:] == [
        "Accuracy against the strength of each corruption",
        "One image under each corruption",
    ]
    assert f"The study is in {out}" in done.stdout
    [evaluation] = (run / "evaluations").iterdir()
    assert "<h2>Robustness" not in (evaluation / "evaluation.html").read_text(encoding="utf-8")


@pytest.mark.integration
def test_elsewhere_than_on_its_own_test_split_the_study_belongs_to_the_evaluation(
    run: Path,
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,  # noqa: F811
    tmp_path: Path,
) -> None:
    for more in (["--split", "validation"], []):
        out = tmp_path / f"out{len(more)}"
        evaluate(run, "--data", phantom, "--robustness", "--robustness_images", 8, "--out", out, *more)
        contents = json.loads((out / "robustness" / "robustness.json").read_text(encoding="utf-8"))
        assert contents["split"] == (more or ["", "test"])[1]
        assert "<h2>Robustness</h2>" in (out / "evaluation.html").read_text(encoding="utf-8")
        evaluate(run, "--data", phantom, "--out", out, *more)  # a page shows the study that was made with it
        assert "<h2>Robustness</h2>" not in (out / "evaluation.html").read_text(encoding="utf-8")
    assert not (run / "robustness").exists()


def test_what_cannot_be_studied_is_told_before_any_work(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,  # noqa: F811
    tmp_path: Path,
) -> None:
    classes = open_prepared(phantom).classes
    columns = ["file_name", *(f"p_{name}" for name in classes)]
    pd.DataFrame(columns=columns).to_csv(tmp_path / "predictions.csv", index=False)
    for extra, message in [
        (["--robustness"], "predictions.csv holds answers to the images as they are: --robustness needs the model"),
        (["--robustness_images", "5"], "--robustness_images 5: at least 1, and it needs --robustness"),
        (["--robustness", "--robustness_images", "0"], "--robustness_images 0: at least 1, and it needs --robustness"),
    ]:
        with pytest.raises(ValueError, match=message):
            evaluate(tmp_path / "predictions.csv", "--data", phantom, *extra)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]
