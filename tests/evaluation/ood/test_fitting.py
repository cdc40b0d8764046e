"""The rule of a model as a run leaves it: fitted on prepared data, tried, written, and added to a run without one."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

from brainmri.cli import fit_ood
from brainmri.data.dataset import open_prepared
from brainmri.data.pixel_cache import image_summaries, pixel_cache
from brainmri.evaluation.inference import infer
from brainmri.evaluation.ood import fit
from brainmri.evaluation.ood.detector import ARRAYS, OODDetector
from brainmri.evaluation.ood.features import see, see_cached
from brainmri.evaluation.ood.fit import MOST, fit_ood_detector, rejection, some_rows
from brainmri.evaluation.scored import images
from brainmri.models.load import load_classifier, load_processor
from brainmri.models.preprocessing import image_processor

from ...training.conftest import TINY, environment, finished, phantom, train, train_here  # noqa: F401


class TwoHeads(nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(12, 4) for _ in range(2))

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=sum(head(pixel_values[:, :, :2, :2].flatten(1)) for head in self.heads))


def test_a_network_without_one_last_layer_gets_the_reason_and_no_file(phantom, tmp_path):  # noqa: F811
    reason = fit_ood_detector(tmp_path, TwoHeads(), image_processor(32, "half"), open_prepared(phantom))
    assert reason.startswith("No rule for refusing an image was fitted: TwoHeads has no single last layer")
    assert list(tmp_path.iterdir()) == []


def test_each_training_image_is_fitted_once_and_no_split_without_end(phantom, monkeypatch):  # noqa: F811
    data = open_prepared(phantom)
    rows = data.rows("train")
    data.index.loc[rows[:6], "duplicate_id"] = "the same"
    assert len(some_rows(data, "train")) == len(rows) - 5
    assert np.array_equal(some_rows(data, "test"), data.rows("test"))
    monkeypatch.setitem(MOST, "test", 7)
    few = some_rows(data, "test")
    assert len(few) == len(set(few)) == 7
    assert set(few) < set(data.rows("test"))
    assert np.array_equal(few, some_rows(data, "test"))


@pytest.mark.integration
def test_the_cache_of_a_training_gives_what_the_files_give(finished, phantom):  # noqa: F811
    """Larger images than the network takes: features, logits and statistics are those of whoever opens the files."""
    model, processor, layer = (
        load_classifier(str(finished)),
        load_processor(str(finished)),
        OODDetector.load(finished).layer,
    )
    data = open_prepared(phantom)
    rows = data.rows("test")[:40]
    size = processor.size["height"]
    of_all = pixel_cache(data, size), image_summaries(data, size).statistics
    cached = see_cached(*of_all, rows, model, processor, layer)
    read = see(images(data, rows), model, processor, layer)
    np.testing.assert_allclose(cached.logits, read.logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(cached.features, read.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cached.statistics, read.statistics)


@pytest.mark.integration
def test_the_rule_of_a_run_judges_images_as_the_run_itself_did(finished, phantom):  # noqa: F811
    """From the files alone: the share of the test split that is refused is the one that the run wrote down."""
    model, processor, rule = load_classifier(str(finished)), load_processor(str(finished)), OODDetector.load(finished)
    data = open_prepared(phantom)
    names = data.index["file_name"].iloc[data.rows("test")]
    found = infer([Image.open(phantom / name) for name in names], model, processor, rule)
    written = json.loads((finished / "uncertainty.json").read_text())["ood"]["test"]
    assert found.rejected.mean() == pytest.approx(written["rejected"])
    right = found.probabilities.argmax(1) == data.labels(data.rows("test"))
    assert right[~found.rejected].mean() == pytest.approx(written["kept_accuracy"])


@pytest.mark.integration
def test_what_a_run_has_scored_takes_no_second_pass(train_here, phantom, tmp_path, monkeypatch):  # noqa: F811
    """The rule sees the training images alone, and is the one of a pass over all of them."""
    passes = []

    def counted(pixels, statistics, rows, *others):
        passes.append(len(rows))
        return see_cached(pixels, statistics, rows, *others)

    monkeypatch.setattr(fit, "see_cached", counted)
    monkeypatch.setattr(fit, "probe_sets", lambda data: [])
    run, data = tmp_path / "run", open_prepared(phantom)
    arguments = ["--data_dir", str(phantom), "--num_train_epochs", "1", "--output_dir", str(run), "--ood", "true"]
    done = train_here(*TINY, *arguments)
    assert done.returncode == 0, done.stderr
    assert passes == [len(some_rows(data, "train"))]
    of_run, rule = json.loads((run / "uncertainty.json").read_text())["ood"], OODDetector.load(run)
    again = fit_ood_detector(tmp_path, load_classifier(str(run)), load_processor(str(run)), data).as_json()
    assert len(passes) == 4
    assert again["threshold"] == pytest.approx(of_run["threshold"], rel=1e-4)
    assert (again["validation"], again["test"]) == (of_run["validation"], of_run["test"])
    written = load_file(tmp_path / ARRAYS)
    np.testing.assert_allclose(written["units"], rule.units, rtol=1e-3)


@pytest.mark.integration
def test_a_run_that_was_finished_without_a_rule_is_given_one(finished, phantom, tmp_path, monkeypatch):  # noqa: F811
    run = shutil.copytree(finished, tmp_path / "run")
    uncertainty, result = (json.loads((run / name).read_text()) for name in ("uncertainty.json", "result.json"))
    (run / "uncertainty.safetensors").unlink()
    (run / "uncertainty.json").write_text(json.dumps(uncertainty | {"ood": None, "ood_reason": "An older version."}))
    (run / "result.json").write_text(json.dumps(result | {"ood": None}))
    (run / "report.html").unlink()
    monkeypatch.setattr(sys, "argv", ["ood", str(run), str(phantom)])
    fit_ood.main()
    again = json.loads((run / "uncertainty.json").read_text())
    assert again["ood_reason"] is None
    for part in ("ood", "conformal", "calibration"):
        for key, value in uncertainty[part].items():
            if not isinstance(value, (list, dict)):
                assert again[part][key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value), key
    assert json.loads((run / "result.json").read_text())["ood"] == again["ood"]
    assert "What it refuses" in (run / "report.html").read_text()
    assert "## What it refuses" in (run / "README.md").read_text()

    result["data"]["fingerprint"] = "another"
    (run / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match="made on data with the fingerprint another"):
        fit_ood.main()


def test_shares_and_intervals_of_what_is_refused_by_hand():
    rejected, right = np.array([True, False, False, False]), np.array([False, True, True, False])
    found = rejection(rejected, right, ["a", "b", "b", "c"]).as_json()
    assert (found["n"], found["rejected"], found["kept"]) == (4, 0.25, 3)
    assert found["kept_accuracy"] == pytest.approx(2 / 3)
    assert found["rejected_ci95"][0] <= 0.25 <= found["rejected_ci95"][1]
    nothing = rejection(np.ones(2, bool), np.ones(2, bool), ["a", "b"]).as_json()
    assert (nothing["kept"], nothing["kept_accuracy"], nothing["kept_accuracy_ci95"]) == (0, None, None)
