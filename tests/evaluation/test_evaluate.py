"""scripts/evaluate.py as a user runs it: runs, models of other people and tables of predictions, on several data."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification, pipeline

from brainmri.cli import evaluate as evaluate_cli
from brainmri.data.dataset import open_prepared
from brainmri.data.prepare import prepare
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.load import save_model
from brainmri.models.preprocessing import image_processor

from ..conftest import CLASSES
from ..scripts import run_here
from ..training.conftest import ROOT, Train, environment, phantom, result_of, train_here  # noqa: F401

pytestmark = pytest.mark.integration  # each scores a trained run or a table by the real command

SCRIPT = ROOT / "scripts" / "evaluate.py"
# Trained far enough that its probabilities differ between images.
SMALL_RUN = ["--arch", "resnet_small", "--recipe", "input.size=32", "stages.0.learning_rate=0.01"]
SMALL_RUN += ["--num_train_epochs", "5"]
TUMORS = "glioma or meningioma or pituitary"
Evaluate = Callable[..., dict]


@pytest.fixture(scope="module")
def run(train_here: Train, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A finished run on the tiny phantom set."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    done = train_here(*SMALL_RUN, "--data_dir", str(phantom), "--output_dir", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def script(*arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:  # noqa: F811
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    """evaluate(*arguments): main() of the script in this process; returns evaluation.json of --out, or below `into`."""

    def call(*arguments: object, into: Path | None = None) -> dict:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        evaluate_cli.main()
        out = next(into.iterdir()) if into else Path(arguments[arguments.index("--out") + 1])
        return json.loads((out / "evaluation.json").read_text())

    return call


def foreign(folder: Path, labels: list[str], **config: object) -> ResNetForImageClassification:
    """A tiny ResNet of transformers, with other weights for every call's labels, and an image processor of its own."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    model = ResNetForImageClassification(
        ResNetConfig(**sizes, id2label=dict(enumerate(labels)), label2id={n: k for k, n in enumerate(labels)}, **config)
    )
    model.save_pretrained(folder)
    image_processor(40, "half").save_pretrained(folder)
    return model


def timm_model(folder: Path, classes: list[str]) -> None:
    recipe = resolve("resnet50", overrides=["model.arguments.architecture=test_resnet", "input.size=64"])
    torch.manual_seed(0)
    save_model(build_model(recipe, classes, "random")[0], image_processor(64, recipe.input.normalize), folder)


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv", dtype={"label": str})


def test_a_run_on_its_own_test_split_gives_the_figures_of_the_run(
    run: Path,
    phantom: Path,  # noqa: F811
    environment: dict[str, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for code in copy.glob("*.py"):
        code.write_text("raise SystemExit('code of the run folder was executed')")
    done = run_here("evaluate.py", copy, "--data", phantom, environment=environment)
    assert done.returncode == 0, done.stderr
    [out] = (copy / "evaluations").iterdir()
    assert re.fullmatch(r"phantom-tiny-[0-9a-f]{8}", out.name)
    names = ["evaluation.html", "evaluation.json", "figures", "made.json", "predictions.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert sorted(path.name for path in (out / "figures").iterdir()) == ["confusion_matrix.png", "reliability.png"]

    found, result = json.loads((out / "evaluation.json").read_text()), result_of(copy)
    mine, theirs = table_of(out), table_of(copy)
    theirs = theirs[theirs["split"] == "test"].reset_index(drop=True)
    assert list(mine.columns) == list(theirs.columns)
    assert mine.iloc[:, :6].equals(theirs.iloc[:, :6])
    np.testing.assert_allclose(mine.iloc[:, 6:], theirs.iloc[:, 6:], atol=1e-4, rtol=0)
    assert mine["predicted"].nunique() > 1  # so that equal figures mean something
    written = result["ood"]["test"]
    assert found["ood"]["n"] == written["n"]
    assert found["ood"]["rejected"] == pytest.approx(written["rejected"], abs=1.5 / written["n"])
    assert found["ood"]["kept_accuracy"] == pytest.approx(written["kept_accuracy"], abs=0.05)
    assert "refuses" in (out / "evaluation.html").read_text()
    assert "refused by its OOD detector" in done.stdout
    assert mine.iloc[:, 6:].std().max() > 0.03
    for key in ("n", "groups", "accuracy", "accuracy_ci95", "confusion_matrix", "per_class"):
        assert found["scores"][key] == result["test"][key], key
    for key in ("loss", "ece", "brier", "auroc"):
        assert found["scores"][key] == pytest.approx(result["test"][key], abs=1e-4), key
    assert found["floors"] == result["floors"]
    assert found["detection"] == result["detection"]
    assert found["detection"]["all"]["tumours"] > 0
    assert found["calibration"]["temperature"] == result["calibration"]["temperature"]
    assert found["calibration"]["ece_after"] == pytest.approx(result["calibration"]["test_ece_after"], abs=1e-4)
    assert (found["kind"], found["own_data"], found["run"]["arch"]) == ("run", True, "resnet_small")
    assert [headline for headline, _ in found["warnings"]] == [
        "Simulated images",
        "Partial schedule",
    ]  # random weights are what it is meant to start from

    page = (out / "evaluation.html").read_text()
    assert "the split scored is the run&#39;s test split" in page
    assert page.count("data:image/png;base64,") == 2
    accuracy = f"{100 * result['test']['accuracy']:.1f} % ["
    assert accuracy in page
    assert accuracy in done.stdout
    assert f"open {out / 'evaluation.html'}" in done.stdout


def test_images_that_the_run_was_trained_on_are_called_so(
    run: Path,
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = open_prepared(phantom)
    found = evaluate(run, "--data", phantom, "--split", "all", "--out", tmp_path)
    count, total = len(data.rows("train")), len(data.index)
    sentence = f"{count:,} of these {total:,} images were in the run's training set"
    assert found["warnings"][0][0] == "Training images"
    assert f"TRAINING IMAGES: {sentence}" in capsys.readouterr().out
    assert found["scores"]["n"] == total
    assert found["floors"]["nearest_neighbour"] is None  # the run's baselines are those of its test split
    assert found["floors"]["majority"] == data.index["label"].value_counts().iloc[0] / total
    page = (tmp_path / "evaluation.html").read_text()
    assert '<div class="warning"><strong>Training images</strong>' in page[: page.index("<h1>")]
    assert table_of(tmp_path)["split"].value_counts()["train"] == count


def test_predictions_of_anybody(
    run: Path,
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    table = table_of(run)
    theirs = table[["file_name", *(f"p_{name}" for name in CLASSES)]].sample(frac=1, random_state=0)
    theirs = theirs.rename(columns={"p_notumor": "p_No Tumor"})
    file = tmp_path / "somebody.csv"
    theirs.to_csv(file, index=False)
    found = evaluate(file, "--data", phantom, "--out", tmp_path / "out")
    assert found["scores"]["accuracy_ci95"] == result_of(run)["test"]["accuracy_ci95"]
    assert (found["kind"], found["own_data"], found["calibration"]) == ("predictions", None, None)
    assert "is not known here" in found["relation"]
    again = table_of(tmp_path / "out")
    assert again["predicted"].tolist() == table.loc[table["split"] == "test", "predicted"].tolist()

    # Other predictions of the same name are other inputs: nothing of the first ones is lost, unless that is asked for.
    before = (tmp_path / "out" / "evaluation.json").read_bytes()
    evaluate(file, "--data", phantom, into=tmp_path / "evaluations" / "somebody")
    theirs.assign(p_glioma=theirs["p_glioma"] / 2, p_pituitary=theirs["p_pituitary"] + theirs["p_glioma"] / 2).to_csv(
        file, index=False
    )
    with pytest.raises(ValueError, match=r"out holds what was made of other inputs.*--overwrite"):
        evaluate(file, "--data", phantom, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "evaluation.json").read_bytes() == before
    evaluate(file, "--data", phantom, into=tmp_path / "evaluations" / "somebody")
    evaluate(file, "--data", phantom, into=tmp_path / "evaluations" / "somebody")  # the same again
    assert len(list((tmp_path / "evaluations" / "somebody").iterdir())) == 2
    evaluate(file, "--data", phantom, "--out", tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "evaluation.json").read_bytes() != before

    theirs.iloc[1:].to_csv(file, index=False)
    with pytest.raises(ValueError, match=r"somebody\.csv lacks \d+ of the 184 images, .* the first"):
        evaluate(file, "--data", phantom, "--split", "all", "--out", tmp_path / "new")
    theirs.assign(p_glioma="x").to_csv(file, index=False)
    with pytest.raises(ValueError, match="a probability is no number"):
        evaluate(file, "--data", phantom, "--out", tmp_path / "new")
    theirs.assign(p_glioma=0.9).to_csv(file, index=False)
    with pytest.raises(ValueError, match=r"somebody\.csv: .* rows are no probabilities"):
        evaluate(file, "--data", phantom, "--out", tmp_path / "new")
    pd.concat([theirs, theirs]).to_csv(file, index=False)
    with pytest.raises(ValueError, match="files stand there more than once"):
        evaluate(file, "--data", phantom, "--out", tmp_path / "new")
    theirs[["file_name"]].to_csv(file, index=False)
    with pytest.raises(ValueError, match="a column p_CLASS for each class is needed; its columns: file_name"):
        evaluate(file, "--data", phantom, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_foreign_model_with_other_names_and_a_map(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    labels = ["no_tumor", "meningioma_tumor", "glioma_tumor", "high grade", "Pituitary"]
    foreign(tmp_path / "model", labels)
    names = "meningioma_tumor=meningioma,glioma_tumor=glioma"
    arguments = [tmp_path / "model", "--data", phantom, "--out", tmp_path / "out", "--batch_size", 7]
    found = evaluate(*arguments, "--map", names, "--map", "high grade=glioma")
    assert found["classes"] == ["notumor", "meningioma", "glioma", "pituitary"]
    assert found["model_classes"][3] == ["high grade", "glioma"]
    assert (found["name"], found["kind"], found["own_data"], found["run"]) == ("model", "model", None, None)
    assert (found["split"], found["scores"]["n"]) == ("all", len(open_prepared(phantom).index))
    everywhere = found["detection"]["all"]
    assert (found["detection"]["threshold"], everywhere["sensitivity"]) == (None, None)  # it has none of its own
    names = [f"sensitivity_at_{level}_specificity" for level in (90, 95)]
    for key in ("auroc", "sensitivity_of_likeliest", "specificity_of_likeliest", *names):
        low, high = everywhere[f"{key}_ci95"]
        assert 0 <= low <= everywhere[key] <= high <= 1, key
        assert found["patients"]["pooled"][key] is not None
    assert "Found at 95 % specificity" in (tmp_path / "out" / "evaluation.html").read_text()
    # The probabilities are those of the pipeline that everybody uses.
    table = table_of(tmp_path / "out")
    classify = pipeline("image-classification", model=str(tmp_path / "model"), device="cpu")
    for row in table.sample(4, random_state=0).to_dict("records"):
        scores = {one["label"]: one["score"] for one in classify(str(phantom / row["file_name"]), top_k=5)}
        assert row["p_glioma"] == pytest.approx(scores["glioma_tumor"] + scores["high grade"], abs=1e-5)
        assert row["p_notumor"] == pytest.approx(scores["no_tumor"], abs=1e-5)


def test_a_timm_model_with_and_without_a_processor_file(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    timm_model(tmp_path / "model", CLASSES)
    with_file = evaluate(tmp_path / "model", "--data", phantom, "--out", tmp_path / "a")
    (tmp_path / "model" / "preprocessor_config.json").unlink()  # as timm's own repositories are
    without = evaluate(tmp_path / "model", "--data", phantom, "--out", tmp_path / "b")
    a, b = (table_of(tmp_path / name).iloc[:, 6:].to_numpy() for name in "ab")
    assert a.std(0).max() > 0
    np.testing.assert_allclose(a, b, atol=0.02)  # timm resizes in PIL
    assert with_file["classes"] == without["classes"] == CLASSES


def test_two_classes_against_four(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
) -> None:
    classes = ["notumor", TUMORS]  # as `as_binary` names them
    timm_model(tmp_path / "ours", classes)
    found = evaluate(tmp_path / "ours", "--data", phantom, "--out", tmp_path / "a")
    assert found["classes"] == classes
    assert found["scores"]["per_class"][TUMORS]["support"] == (table_of(tmp_path / "a")["label"] == TUMORS).sum() > 0
    assert found["scores"]["auroc"] is not None
    timm_model(tmp_path / "theirs", ["healthy", "tumor"])
    pairs = f"{TUMORS}=tumor,healthy=notumor"
    other = evaluate(tmp_path / "theirs", "--data", phantom, "--out", tmp_path / "b", "--map", pairs)
    assert other["scores"] == found["scores"]


def test_data_without_a_class_give_sensitivity_only(
    run: Path,
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = tmp_path / "raw"
    for label in ("glioma", "pituitary"):
        shutil.copytree(phantom.parent / "raw" / label, raw / label)
    (raw / "glioma").rename(raw / "Glioma tumor")
    for image in list((phantom.parent / "raw" / "meningioma").iterdir())[:5]:
        (raw / "metastasis").mkdir(exist_ok=True)
        shutil.copy(image, raw / "metastasis")
    data = prepare(raw, tmp_path / "data", layout="imagefolder", name="elsewhere")
    arguments = ["--data", data, "--split", "all", "--map", "glioma=Glioma tumor,-=metastasis"]
    found = evaluate(run, *arguments, "--out", tmp_path / "out")
    assert found["missing"] == ["meningioma", "notumor"]
    assert found["left_out"] == {"metastasis": 5}
    assert found["data_classes"] == {"Glioma tumor": "Glioma tumor", "metastasis": None, "pituitary": "pituitary"}
    scores = found["scores"]
    assert (scores["auroc"], scores["macro_f1"]) == (None, None)
    for label, figures in scores["per_class"].items():
        assert (figures["specificity"], figures["precision"], figures["f1"]) == (None, None, None)
        assert (figures["recall"] is None) == (label in found["missing"])
    seen = found["seen"]  # the run was trained on some of these, which the figures are without
    assert 0 < seen["seen"] < seen["images"] == len(open_prepared(data).index) - 5
    assert (scores["n"], seen["scores"]["n"]) == (seen["images"] - seen["seen"], seen["images"])
    own = open_prepared(phantom)
    assert (seen["training_images"], seen["validation_images"]) == tuple(
        len(own.rows(split)) for split in ("train", "validation")
    )
    named = pd.read_csv(tmp_path / "out" / "seen_in_training.csv")
    assert (len(named), seen["of_validation"]) == (seen["seen"], (named["run_split"] == "validation").sum())
    assert set(named["run_split"]) == {"train", "validation"}
    sources = open_prepared(data).index.set_index("file_name").loc[named["file_name"], "source"]
    split_of = {Path(name).name: split for name, split in zip(own.index["source"], own.index["split"], strict=True)}
    assert [split_of[Path(name).name] for name in sources] == named["run_split"].tolist()
    validated = {Path(name).name for name in own.index.query("split == 'validation'")["source"]}
    assert {Path(name).name for name in open_prepared(data).index["source"]} & validated <= {
        Path(name).name for name in sources
    }
    assert found["warnings"][0][0] == "Training images"
    assert (found["detection"]["all"]["tumours"], found["detection"]["all"]["specificity"]) == (scores["n"], None)
    assert found["own_data"] is False
    page, printed = (tmp_path / "out" / "evaluation.html").read_text(), capsys.readouterr().out
    reason = "No scored image is of the class meningioma, notumor"
    assert reason in page
    assert reason in printed
    assert "None" not in page
    assert "their images are not in any figure: metastasis (5)." in printed
    with pytest.raises(ValueError, match=r'metastasis: no class .*: --map "glioma=Glioma tumor,-=metastasis"'):
        evaluate(run, "--data", data, "--out", tmp_path / "unmapped")

    two = prepare(phantom.parent / "raw", tmp_path / "two", layout="imagefolder", name="phantom tiny", split_seed=1)
    kept = [run / "training_images.npy", run / "validation_images.npy"]
    for file in kept:  # as a run of before, which kept none
        file.rename(tmp_path / file.name)
    found = evaluate(run, "--data", two, "--out", tmp_path / "two_out")
    for file in kept:
        (tmp_path / file.name).rename(file)
    assert (found["warnings"][0][0], found["seen"], found["split"]) == ("Perhaps training images", None, "all")


def test_a_repository_of_the_hub_and_its_code(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Hub's cache, as a download leaves it."""
    commit = "0123456789" * 4
    stored = tmp_path / "hub" / "models--somebody--net"
    shutil.copytree(run, stored / "snapshots" / commit)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for code in (stored / "snapshots" / commit).glob("*.py"):
        code.write_text("raise SystemExit('code of the repository was executed')")
    found = evaluate("somebody/net@main", "--data", phantom, into=tmp_path / "evaluations" / "somebody-net-main")
    assert found["scores"]["accuracy"] == result_of(run)["test"]["accuracy"]
    assert (found["name"], found["kind"], found["own_data"]) == ("somebody/net@main", "run", True)
    assert found["ood"]["n"] == found["scores"]["n"]
    for name in ("uncertainty.json", "result.json"):  # as anybody's repository
        (stored / "snapshots" / commit / name).unlink()
        found = evaluate("somebody/net", "--data", phantom, "--out", tmp_path / "b")
        assert (found["kind"], found["run"], found["calibration"]) == ("model", None, None)
        assert found["ood"] is None
        assert "No rule" in found["ood_reason"]
    config = stored / "snapshots" / commit / "config.json"
    config.write_text(config.read_text().replace('"model_type": "brainmri_small_resnet"', '"model_type": "their_own"'))
    with pytest.raises(ValueError, match="code of its own, which is executed with --trust_remote_code only") as error:
        evaluate("somebody/net", "--data", phantom, "--out", tmp_path / "new")
    assert "\n" not in str(error.value)
    with pytest.raises(SystemExit, match="code of the repository was executed"):
        evaluate("somebody/net", "--data", phantom, "--out", tmp_path / "new", "--trust_remote_code")


def test_bad_input_is_one_line_and_writes_nothing(
    run: Path,
    environment: dict[str, str],  # noqa: F811
    tmp_path: Path,
) -> None:
    done = script(run, "--data", tmp_path, "--out", tmp_path / "new", environment=environment)
    message = (
        f"error: {tmp_path} is not a prepared data set (no dataset.json and index.csv): run brainmri prepare_data\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_scored_is_told(
    phantom: Path,  # noqa: F811
    evaluate: Evaluate,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    foreign(tmp_path / "several", CLASSES, problem_type="multi_label_classification")
    foreign(tmp_path / "backbone", CLASSES).resnet.save_pretrained(tmp_path / "backbone")
    foreign(tmp_path / "blind", CLASSES)
    (tmp_path / "blind" / "preprocessor_config.json").unlink()
    foreign(tmp_path / "broken", CLASSES)
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"broken")
    cases = [
        ("runs/no/such", "runs/no/such: no such folder or file"),
        ("nobody/nothing", "nobody/nothing: no image classifier that can be loaded"),
        ("timm:resnet999", "timm has no such model"),
        ("timm:resnet18", "timm/resnet18.*: no image classifier that can be loaded"),
        (tmp_path / "empty", "no config.json, so it is neither a finished run nor"),
        (tmp_path / "several", r"its outputs \(glioma, .*\) are not the probabilities of classes"),
        (tmp_path / "backbone", r"its weights lack classifier\.1\.bias"),
        (tmp_path / "blind", "blind: no image processor"),
        (tmp_path / "broken", "broken: no image classifier that can be loaded"),
    ]
    for model, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            evaluate(model, "--data", phantom, "--out", tmp_path / "new")
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="--map a=glioma: the model has no class a, its classes are glioma"):
        evaluate(run, "--data", phantom, "--map", "a=glioma", "--out", tmp_path / "new")
    with pytest.raises(ValueError, match="--map a: expected MODEL_CLASS=DATA_CLASS"):
        evaluate(run, "--data", phantom, "--map", "a", "--out", tmp_path / "new")
    with pytest.raises(ValueError, match="--batch_size 0: at least 1 is needed"):
        evaluate(run, "--data", phantom, "--batch_size", 0, "--out", tmp_path / "new")
    with pytest.raises(ValueError, match="holds something that this command did not make"):
        evaluate(run, "--data", phantom, "--out", run)
    index = phantom / "index.csv"
    text = index.read_text()
    try:
        index.write_text(text.replace(",test,", ",train,"))
        with pytest.raises(ValueError, match=r"has no image in the split test; images: train .*, test 0"):
            evaluate(run, "--data", phantom, "--out", tmp_path / "new")
    finally:
        index.write_text(text)
    assert not (tmp_path / "new").exists()


def test_images_in_colour_and_grey_are_read_alike(tmp_path: Path, evaluate: Evaluate) -> None:
    raw = tmp_path / "raw"
    rng = np.random.default_rng(0)
    for label in ("tumor", "healthy"):
        (raw / label).mkdir(parents=True)
        for number in range(6):
            grey = rng.integers(0, 256, (30, 40), dtype=np.uint8)
            pixels = np.stack([grey, grey[::-1], grey], 2) if number % 2 else grey
            Image.fromarray(pixels).save(raw / label / f"{number}.png")
    data = prepare(raw, tmp_path / "data", layout="imagefolder", name="x")
    foreign(tmp_path / "model", ["Healthy", "Tumor"])
    found = evaluate(tmp_path / "model", "--data", data, "--split", "all", "--out", tmp_path / "out")
    assert (found["scores"]["n"], found["classes"]) == (12, ["healthy", "tumor"])
