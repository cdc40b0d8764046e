"""Opening models and asking them about images."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from brainmri.demo.model import DemoModel, known_models, open_models
from brainmri.demo.pages.classify import answer_page, of_whole
from brainmri.demo.response import card, mapped, whole
from brainmri.demo.response_text import scan_sentence
from brainmri.evaluation.inference import infer
from brainmri.evaluation.load import load_model
from brainmri.evaluation.ood.detector import OODDetector
from brainmri.io.decode import RejectedImage
from brainmri.io.open import open_upload
from brainmri.metrics.conformal import prediction_sets
from brainmri.metrics.probabilities import apply_temperature
from brainmri.models.load import load_classifier, load_processor
from brainmri.models.onnx import export_classifier
from brainmri.models.preprocessing import image_processor
from brainmri.models.sessions import ONNX_FILE

from ..conftest import CLASSES
from .conftest import SIDE, Edit, save_network, slices

TINY_VIT: dict[str, int] = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 1}
TINY_VIT |= {"num_attention_heads": 2, "intermediate_size": 16}


def of_every_mode() -> list[Image.Image]:
    grey = slices(1, 7)[0]
    values = np.asarray(grey).astype(np.uint16)
    colour = Image.merge("RGB", slices(3, 8))
    transparent = colour.copy()
    transparent.putalpha(slices(1, 9)[0])
    return [grey, colour, transparent, Image.fromarray(values * 40), grey.convert("P"), *slices(2, 10, (33, 91))]


@pytest.fixture
def opened(run: Edit) -> DemoModel:
    (model,) = open_models([str(run())])
    return model


def test_a_run_is_judged_as_its_own_pipeline_judges(run: Edit) -> None:
    folder = run(calibration__temperature=0.5)
    (model,) = open_models([str(folder)])
    assert model.backend == "ONNX Runtime"
    assert (model.classes, model.name) == (CLASSES, "resnet50 (clean, seed 1)")
    images = of_every_mode()
    plain = infer(
        images, load_classifier(str(folder)), load_processor(str(folder)), OODDetector.load(folder), batch_size=3
    )
    uncertainty = json.loads((folder / "uncertainty.json").read_text())
    expected = apply_temperature(plain.probabilities, 0.5)
    sets = prediction_sets(plain.probabilities, uncertainty["conformal"]["threshold"])
    found = model.judge(images)
    assert len(found) == len(images)
    for k, one in enumerate(found):
        assert list(one.probabilities) == CLASSES
        assert np.allclose(list(one.probabilities.values()), expected[k], atol=1e-4)
        assert one.label == CLASSES[int(expected[k].argmax())]
        assert one.calibrated
        assert set(one.prediction_set) == {name for name, inside in zip(CLASSES, sets[k], strict=True) if inside}
        assert one.coverage == pytest.approx(0.9)
        assert one.ood_score == pytest.approx(plain.scores[k], rel=1e-3)
        assert one.out_of_distribution == plain.rejected[k]
        assert one.milliseconds > 0
    assert {one.out_of_distribution for one in found} == {True, False}


def test_a_volume_has_the_pooled_answer_of_predict_scan(opened: DemoModel, tmp_path: Path) -> None:
    values = np.stack([np.asarray(one) for one in slices(7, 11, (40, 40))]).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([4, 4, 20, 1])), file := tmp_path / "head.nii.gz")
    upload = open_upload(file)
    study = load_model(str(opened.place)).predict_scan(file)
    found = opened.pooled(opened.judge([upload.image("axial", index) for index in range(7)]))
    assert found.label == study.label
    assert found.probabilities == pytest.approx(study.probabilities, abs=1e-4)
    assert found.pooling == study.pooling
    (told,) = whole(upload, [opened])
    assert told == scan_sentence("All 7 slices", found)
    assert [one.partition(":")[0] for one in whole(upload, [opened, opened])] == [opened.name] * 2
    assert of_whole(upload, [opened])["visible"]
    slices(1, 3)[0].save(picture := tmp_path / "slice.png")
    assert whole(open_upload(picture), [opened]) == []


def test_the_set_is_one_of_uncalibrated_probabilities_and_holds_the_likeliest(run: Edit) -> None:
    image = slices(1, 3)
    (model,) = open_models([str(run(calibration__temperature=0.05))])
    (one,) = model.judge(image)
    plain = apply_temperature(np.array([list(one.probabilities.values())]), 1 / 0.05)[0]
    order = np.argsort(-plain)
    between = 1 - (plain[order[2]] + plain[order[3]]) / 2  # the three most probable classes are inside
    assert one.probabilities[CLASSES[order[2]]] < 1 - between  # but not by calibrated probabilities
    for name, threshold, size in (("three", between, 3), ("label alone", 0.0, 1), ("all", 1.0, 4)):
        changes = {"conformal__threshold": threshold, "conformal__class_thresholds": None}  # as of an earlier version
        (one,) = open_models([str(run(name, calibration__temperature=0.05, **changes))])[0].judge(image)
        assert one.prediction_set == tuple(CLASSES[k] for k in order[:size])
    last = CLASSES[order[3]]
    own = dict.fromkeys(CLASSES, 0.0) | {last: 1.0}  # each class has its own threshold
    (one,) = open_models([str(run("own", conformal__class_thresholds=own))])[0].judge(image)
    assert one.prediction_set == (one.label, last)


def test_a_saved_model_without_a_record_is_not_calibrated(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stranger"
    shutil.copytree(network, folder)
    (model,) = open_models([str(folder)])
    (one,) = model.judge(slices(1, 3))
    assert model.name == "stranger"
    assert (model.result, model.uncertainty) == (None, None)
    assert not one.calibrated
    assert (one.prediction_set, one.coverage, one.out_of_distribution, one.ood_score, one.ood_threshold) == (None,) * 5
    plain = infer(slices(1, 3), load_classifier(str(folder)), load_processor(str(folder)))
    assert np.allclose(list(one.probabilities.values()), plain.probabilities[0], atol=1e-4)


@pytest.mark.integration
def test_a_model_of_transformers_that_takes_any_size_is_run_by_torch(tmp_path: Path) -> None:
    folder = tmp_path / "vit"
    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**TINY_VIT, num_labels=3)).save_pretrained(folder)
    image_processor(32, "half").save_pretrained(folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (model,) = open_models([str(folder)])
    assert model.backend == "ONNX Runtime"
    expected = model.judge(slices(1, 4, (32, 32)))[0].probabilities
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_resize": False}))
    (model,) = open_models([str(folder)])
    assert model.backend == "torch (it takes images of any size)"
    assert model.judge(slices(1, 4, (32, 32)))[0].probabilities == pytest.approx(expected, abs=1e-4)


def test_a_network_that_onnx_cannot_express_is_run_by_torch(run: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no operator\nfor that")

    images = of_every_mode()
    folder = run()
    expected = open_models([str(folder)])[0].judge(images)
    monkeypatch.setattr("brainmri.models.onnx.export_classifier", fail)
    monkeypatch.setattr("brainmri.evaluation.backend._fitting", lambda *_: None)
    (model,) = open_models([str(folder)])
    assert model.backend == "torch (ONNX cannot express it)"
    for one, same in zip(model.judge(images), expected, strict=True):
        assert one.probabilities == pytest.approx(same.probabilities, abs=1e-4)
        assert one.ood_score == pytest.approx(same.ood_score, rel=1e-3)


@pytest.mark.integration
def test_the_published_onnx_file_is_used_where_it_is_of_these_weights(
    run: Edit, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    folder = run()
    layer = json.loads((network / "rule.json").read_text())["layer"]
    export_classifier(load_classifier(str(folder)), (SIDE, SIDE), folder / ONNX_FILE, layer=layer)
    expected = open_models([str(folder)])[0].judge(slices(2, 5))
    assert not list((tmp_path / "cache").glob("onnx/*.onnx"))
    other = load_classifier(str(save_network(tmp_path / "other", seed=1)))
    export_classifier(other, (SIDE, SIDE), folder / ONNX_FILE, layer=layer)
    found = open_models([str(folder)])[0].judge(slices(2, 5))
    (written,) = (tmp_path / "cache").glob("onnx/*.onnx")
    assert [one.probabilities for one in found] == [pytest.approx(one.probabilities, abs=1e-4) for one in expected]
    written.write_bytes(written.read_bytes()[:1000])  # as a full disk would leave it
    found = open_models([str(folder)])[0].judge(slices(2, 5))
    assert [one.probabilities for one in found] == [pytest.approx(one.probabilities, abs=1e-4) for one in expected]
    assert written.stat().st_size > 1000


def test_a_map_lies_over_the_image(opened: DemoModel) -> None:
    image = slices(1, 6, (90, 50))[0]
    found = opened.map(image)
    assert (found.shape, found.dtype) == ((50, 90), np.float32)
    assert 0 <= found.min() < found.max() == 1
    label = opened.judge([image])[0].label
    assert np.array_equal(found, opened.map(image, label))
    other = next(name for name in CLASSES if name != label)
    assert not np.array_equal(found, opened.map(image, other))
    with pytest.raises(ValueError, match="has no class 'astrocytoma': it has glioma, meningioma"):
        opened.map(image, "astrocytoma")


@pytest.mark.parametrize("level", [0.0, 2.0])
def test_a_flat_map_is_no_map(opened: DemoModel, monkeypatch: pytest.MonkeyPatch, level: float) -> None:
    monkeypatch.setattr(
        "brainmri.evaluation.explain.grad_cam.grad_cam", lambda *_: (torch.full((1, 4, 4), level), torch.zeros(1, 4))
    )
    with pytest.raises(ValueError, match="nothing in the slice speaks for this class more than the rest of it"):
        opened.map(slices(1, 6)[0])


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_slice_without_contrast_has_no_map_that_could_be_called_evidence(opened: DemoModel, mode: str) -> None:
    grey = Image.new("L", (80, 60), 128).convert(mode)
    label = opened.judge([grey])[0].label
    why = "the slice is of one brightness, so there is nothing in it to point at"
    with pytest.raises(ValueError, match=why):
        opened.map(grey, label)
    assert mapped(grey, opened, label) == why
    page = answer_page(
        {"image": "data:,", "alt": "A slice", "together": "", "many": False, "legend": ""},
        [card(opened, opened.judge([grey])[0]) | {"no_map": why}],
    )
    assert f"No map: {why}." in page
    assert "evidence" not in page


def test_many_may_ask_at_once(opened: DemoModel) -> None:
    images = slices(12, 11)
    maps, judged = [opened.map(image) for image in images], opened.judge(images)
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(opened.map, images)), list(pool.map(lambda one: opened.judge([one])[0], images))
    for one, same in zip(together[0], maps, strict=True):
        assert np.allclose(one, same, atol=1e-5)
    for one, same in zip(together[1], judged, strict=True):
        assert one.probabilities == pytest.approx(same.probabilities, abs=1e-6)


def test_a_blank_deep_image_is_rejected(opened: DemoModel) -> None:
    with pytest.raises(RejectedImage, match="blank"):
        opened.judge([Image.fromarray(np.full((40, 40), 7, np.uint16))])


def test_a_run_is_known_before_it_is_open_as_it_is_afterwards(run: Edit) -> None:
    folder = str(run())
    (model,) = known_models([folder])
    before = (model.name, model.classes, model.result, model.uncertainty)
    assert not hasattr(model, "backend")
    (same,) = open_models([folder])
    assert before == (same.name, same.classes, same.result, same.uncertainty)
    opened = load_model(folder)
    assert before == (opened.name, opened.classes, opened.result, opened.uncertainty)
    model.open()
    assert before == (model.name, model.classes, model.result, model.uncertainty)
    assert model.judge(slices(1, 3))[0].probabilities == same.judge(slices(1, 3))[0].probabilities


def test_a_place_is_opened_once_and_names_differ(run: Edit) -> None:
    first, second = run("first"), run("second")
    models = open_models([str(first), str(second), str(first)])
    assert [model.place for model in models] == [str(first), str(second)]
    assert [model.name for model in models] == [
        "resnet50 (clean, seed 1), model 1",
        "resnet50 (clean, seed 1), model 2",
    ]


def _spoil(folder: Path, file: str, **values: object) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | values))


SPOILT = {
    "no such folder": lambda folder: shutil.rmtree(folder),
    "no config.json": lambda folder: (folder / "config.json").unlink(),
    "no image classifier": lambda folder: (folder / "model.safetensors").write_bytes(b"broken"),
    "are not the probabilities of classes": lambda folder: _spoil(
        folder, "config.json", problem_type="multi_label_classification"
    ),
    "its uncertainty.json is of other classes": lambda folder: _spoil(
        folder, "uncertainty.json", classes=["a", "b", "c", "d"]
    ),
    "uncertainty.safetensors": lambda folder: (folder / "uncertainty.safetensors").unlink(),
    "Expecting": lambda folder: (folder / "uncertainty.json").write_text("{"),
    "no attribute `elsewhere`": lambda folder: _spoil(
        folder,
        "uncertainty.json",
        ood=json.loads((folder / "uncertainty.json").read_text())["ood"] | {"layer": "elsewhere"},
    ),
    "schema version None found": lambda folder: (folder / "uncertainty.json").write_text("{}"),
    "keys missing: classes": lambda folder: (folder / "uncertainty.json").write_text('{"schema_version": 2}'),
    "code of its own": lambda folder: _spoil(
        folder,
        "config.json",
        model_type="stranger",
        architecture=None,
        auto_map={"AutoConfig": "stranger.Evil", "AutoModelForImageClassification": "stranger.Evil"},
    ),
}


@pytest.mark.integration
@pytest.mark.parametrize("reason", SPOILT)
def test_what_cannot_be_opened_is_named_with_the_reason(run: Edit, reason: str) -> None:
    folder = run()
    (folder / "stranger.py").write_text(f"open({str(folder / 'executed')!r}, 'w')\n")
    SPOILT[reason](folder)
    with pytest.raises(ValueError, match="cannot be opened") as found:
        open_models([str(folder)])
    assert str(found.value).startswith(f"{folder} cannot be opened: ")
    assert reason in str(found.value)
    assert not (folder / "executed").exists()


def test_one_class_is_refused(tmp_path: Path) -> None:
    ViTForImageClassification(ViTConfig(**TINY_VIT, num_labels=1)).save_pretrained(tmp_path)
    image_processor(32, "half").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot be opened: its outputs"):
        open_models([str(tmp_path)])


def test_what_is_no_repository_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^\.\./\.\./secret cannot be opened"):
        open_models(["../../secret"])
