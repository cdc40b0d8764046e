"""A revision that a repository lacks is told from a file that it lacks, also by servers that answer both alike."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi

from brainmri.data.shards import open_shards
from brainmri.models.introspect import resolve
from brainmri.models.load import load_classifier
from brainmri.models.weights import WeightsUnreachableError, find_weights

from .conftest import FILE, MakeHub

HABITS = [(), ("no revision errors",), ("no revision errors", "no error codes")]


@pytest.fixture(params=HABITS, ids=["the public Hub", "as a missing file", "without codes"])
def api(request: pytest.FixtureRequest, make_hub: MakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Of a Hub with a model and a data set that hold a card and the tag v1."""
    hub = make_hub(*request.param)
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + FILE,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    api = HfApi(token="hf_anna")
    for kind in ("model", "dataset"):
        api.create_repo("anna/x", repo_type=kind)
        api.upload_file(path_or_fileobj=b"# x", path_in_repo="README.md", repo_id="anna/x", repo_type=kind)
        api.create_tag("anna/x", tag="v1", repo_type=kind)
    return api


def test_a_wrong_revision_is_named_and_those_that_there_are(api: HfApi) -> None:
    wrong = r"anna/x has no revision v1\.0 \(it has main, v1\): did you mean v1\?"
    with pytest.raises(ValueError, match=wrong):
        load_classifier("anna/x", "v1.0")
    with pytest.raises(WeightsUnreachableError, match=wrong):
        find_weights(resolve("cnn_4x4"), "anna/x@v1.0")
    with pytest.raises(ValueError, match=wrong):
        open_shards("hf://datasets/anna/x@v1.0")


def test_a_missing_file_is_not_taken_for_a_wrong_revision(api: HfApi) -> None:
    with pytest.raises(ValueError, match=r"anna/x: no image classifier that can be loaded \((?!.*has no revision)"):
        load_classifier("anna/x", "v1")
    with pytest.raises(WeightsUnreachableError) as raised:
        find_weights(resolve("cnn_4x4"), "anna/x@v1")
    assert "has no revision" not in str(raised.value)
    with pytest.raises(ValueError, match=r"anna/x@v1: (no dataset\.json|no such data set)"):
        open_shards("hf://datasets/anna/x@v1")
