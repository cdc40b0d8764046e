"""What is published under which names, before anything is built."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from brainmri.hub.build import by_repository, evidence
from brainmri.hub.checks import PublishError

from .conftest import Run
from .loopback import LoopbackHub
from .test_upload import failed


def test_seeds_of_one_recipe_are_one_model_of_the_lowest_seed(make_run) -> None:
    runs = [make_run("runs/b", seed=3), make_run("runs/a", seed=7), make_run("runs/c", arch="cnn_4x4", seed=3)]
    found = by_repository(runs)
    assert found == {"brainmri-resnet50": runs[:2], "brainmri-cnn_4x4": runs[2:]}


@pytest.mark.integration
@pytest.mark.parametrize("change", [{"normalize": "half"}, {"data__fingerprint": "f" * 16}, {"split_seed": 7}])
def test_runs_that_differ_in_more_than_their_seed_are_not_one_model(make_run, change) -> None:
    runs = [make_run("one", seed=1), make_run("two", seed=2, **change)]
    with pytest.raises(PublishError, match=r"brainmri-resnet50, and differ in more than their seed \(one, two\)"):
        by_repository(runs)


@pytest.mark.integration
def test_models_are_ordered_by_what_was_measured(make_run) -> None:
    worst_first = [
        [make_run("simulated", data__simulated=True, test__accuracy=0.99)],
        [make_run("leaky", data__leaky=True, test__accuracy=0.98)],
        [make_run("published", protocol="published", test__accuracy=0.97)],
        [make_run("low", test__accuracy=0.80), make_run("high", seed=2, test__accuracy=0.90)],
        [make_run("mean", test__accuracy=0.86)],
    ]
    assert sorted([*worst_first[2:], *worst_first[:2]], key=evidence) == worst_first


def test_names_are_checked_before_anything_is_built(
    hub: LoopbackHub, publish: Run, make_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*arguments: object, **how: object) -> None:
        raise AssertionError("built before the name was checked")

    monkeypatch.setattr("brainmri.hub.model_repository.model_repository", built)
    api, run = HfApi(endpoint=hub.url, token="hf_anna"), str(make_run())
    api.create_repo("anna/taken")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="other.txt", repo_id="anna/taken")
    assert "the name is taken: model anna/taken" in failed(publish, hub, "model", run, "--repo", "taken")
    assert "Repo id must use alphanumeric chars" in failed(publish, hub, "model", run, "--repo", "no good")
    with pytest.raises(AssertionError, match="built before"):
        publish(hub, "model", run, "--repo", "free")


@pytest.mark.parametrize("token", ["hf_wrong", "hf_reader", None])
def test_a_dry_run_goes_on_without_a_token_that_may_write(
    hub: LoopbackHub, publish: Run, tmp_path: Path, token: str | None
) -> None:
    done = publish(hub, "metric", "--dry-run", tmp_path / "tree", token=token)
    assert done.returncode == 0, done.stderr
    assert "space OWNER/grouped_accuracy" in done.stdout
    assert ("OWNER stands in the place of the owner" in done.stdout) == bool(token)


def test_the_folder_of_a_dry_run_is_looked_at_first(hub: LoopbackHub, publish: Run, make_run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    run = str(make_run())
    assert "is not an empty folder" in failed(publish, hub, "model", run, "--dry-run", str(tmp_path / "full"))
