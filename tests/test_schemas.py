"""The records of the JSON files: what is written comes back, what is of version 1 is read, anything else is named."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from brainmri.evaluation.load import load_model
from brainmri.evaluation.ood.detector import ARRAYS, OODDetector
from brainmri.reporting.run_report import write_report
from brainmri.schemas import (
    AuditReport,
    Made,
    MadePart,
    MapsResult,
    Uncertainty,
    json_text,
    read,
    read_result,
    read_uncertainty,
    write,
    write_result,
)

from .conftest import CLASSES, MakeRun, dataset_info
from .demo.conftest import Edit, network, run  # noqa: F401

DESIGN = {
    *("schema_version", "arch", "protocol", "seed", "split_seed", "fold", "weights", "normalize", "command", "created"),
    *("data", "parameters", "training", "test", "validation", "train", "calibration", "conformal", "ood", "floors"),
    *(
        "environment",
        "recipe_title",
        "source",
        "published",
        "detection",
        "patients",
        "pooling",
        "kinds",
        "model_sha256",
        "sites",
    ),
}


def test_a_result_comes_back_and_has_every_key(make_run: MakeRun, tmp_path: Path) -> None:
    result = read_result(make_run())
    (tmp_path / "again").mkdir()
    write_result(result, tmp_path / "again")
    assert read_result(tmp_path / "again") == result
    content = json.loads((tmp_path / "again" / "result.json").read_text())
    assert set(content) == DESIGN
    assert next(iter(content)) == "schema_version"
    assert content["floors"] == {"majority": 0.31, "nearest_neighbour": 0.823, "global_statistics": 0.774}
    assert content["train"] is None
    assert result.environment.rows()[-1][0] == "git_commit"
    assert ("torch", "2.14.1") in result.environment.rows()


def test_records_do_not_change_and_hold_nothing_unknown() -> None:
    info = dataset_info()
    with pytest.raises(ValueError, match="frozen"):
        info.name = "another"
    with pytest.raises(ValueError, match="images"):
        dataset_info(images=3)
    with pytest.raises(ValueError, match="JSON"):
        json_text({"loss": float("nan")})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1, 2]", "an object with keys is expected, and a list stands there"),
        ("{", "audit.json: "),
        ("{}", "schema version None found, 3 expected"),
        ('{"schema_version": 3, "name": "x"}', "keys missing: against, images, parts"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_sentence(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(ValueError, match=r"audit\.json") as refused:
        read(tmp_path / "audit.json", AuditReport)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_wrong_kind_of_value_is_named_with_its_key(make_run: MakeRun) -> None:
    folder = make_run(training__world_size="many", test__accuracy=1.5)
    with pytest.raises(ValueError, match=r"training\.world_size: Input should be a valid integer.*test\.accuracy: "):
        read_result(folder)


def as_version_1(folder: Path) -> None:
    """Give a run folder the names and keys of the release before."""
    for name in ("result.json", "uncertainty.json"):
        content = json.loads((folder / name).read_text())
        old = {{"ood": "reject", "ood_reason": "reject_reason"}.get(key, key): value for key, value in content.items()}
        old["schema_version"] = 1
        if old["reject"]:
            old["reject"]["arrays"] = "trust.safetensors"
        if "training" in old:
            old["training"]["precision_probe"] = {"fp32": 1.0, "bf16": 2.0}
        (folder / name).write_text(json.dumps(old))
    (folder / "uncertainty.json").rename(folder / "trust.json")
    if (folder / ARRAYS).is_file():
        (folder / ARRAYS).rename(folder / "trust.safetensors")


def test_a_run_folder_of_version_1_is_read(run: Edit, tmp_path: Path) -> None:  # noqa: F811
    folder = run()
    result, uncertainty, detector = read_result(folder), read_uncertainty(folder), OODDetector.load(folder)
    page = write_report(folder).read_text()
    as_version_1(folder)
    assert not (folder / "uncertainty.json").exists()
    arrays = {"arrays": "trust.safetensors"}
    assert read_result(folder) == result.model_copy(update={"ood": result.ood.model_copy(update=arrays)})
    assert read_uncertainty(folder).calibration == uncertainty.calibration
    loaded = load_model(str(folder))
    assert loaded.uncertainty and loaded.uncertainty.conformal == uncertainty.conformal
    assert loaded.ood_detector and loaded.ood_detector.threshold == detector.threshold
    assert write_report(folder).read_text() == page


def test_arrays_elsewhere_are_not_opened(run: Edit) -> None:  # noqa: F811
    """The record of a stranger's model may name any file."""
    folder = run(ood__arrays="../elsewhere.safetensors")
    shutil.copy(folder / ARRAYS, folder.parent / "elsewhere.safetensors")
    with pytest.raises(ValueError, match=r"names '\.\./elsewhere\.safetensors'"):
        OODDetector.load(folder)


def test_a_version_to_come_is_refused(make_run: MakeRun) -> None:
    folder = make_run()
    content = json.loads((folder / "uncertainty.json").read_text())
    (folder / "uncertainty.json").write_text(json.dumps(content | {"schema_version": 3}))
    with pytest.raises(ValueError, match=r"uncertainty\.json: schema version 3 found, 2 expected"):
        read_uncertainty(folder)


def test_keys_that_python_cannot_name_stand_in_the_file(tmp_path: Path) -> None:
    step: dict[str, Any] = dict.fromkeys(("rank_correlation_ci95", "similarity_ci95"))
    step |= {"layer": "", "layers": 0, "judged": 1, "rank_correlation": 1.0, "similarity": 1.0}
    content: dict[str, Any] = dict.fromkeys(("empty_random_maps", "tolerance_pixels", "scores"))
    content |= {"gaussian_standard_deviation": None, "schema_version": 1, "model": "m", "remarks": [], "layer": "l"}
    content |= {"places": [4, 4], "class": "predicted", "images": 1, "test_images": 1, "empty_maps": 0}
    content["randomisation"] = {"images": 1, "layers": 1, "steps": [step], "verdict": "passed"}
    (tmp_path / "maps.json").write_text(json.dumps(content))
    found = read(tmp_path / "maps.json", MapsResult)
    assert found.class_name == "predicted"
    assert found.as_json() == content


def test_what_each_command_made_is_kept_beside_the_others(tmp_path: Path) -> None:
    made = Made().model_copy(update={"audit": {"all": MadePart(inputs="1", files=["a"])}})
    write(made, tmp_path / "made.json")
    again = read(tmp_path / "made.json", Made)
    assert (again.of("audit")["all"].files, again.of("explain")) == (["a"], {})


def test_uncertainty_of_no_calibration_is_a_record_too() -> None:
    nothing = dict.fromkeys(("calibration", "conformal", "conformal_reason", "ood", "ood_reason"))
    assert Uncertainty.model_validate({"classes": CLASSES, **nothing}).schema_version == 2
