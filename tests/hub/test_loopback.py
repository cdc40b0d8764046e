"""The loopback Hub against unchanged clients, so that what the other tests show holds on a real one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from .conftest import python
from .loopback import LoopbackHub

REPO = "anna/things"


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    return HfApi(endpoint=hub.url, token="hf_anna")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Small and large files, text and bytes, in folders; more than a page of the tree."""
    root, generator = tmp_path / "folder", np.random.default_rng(0)
    sizes = {
        "large.safetensors": 2_500_000,
        "a/small.bin": 10,
        "a/b/c.parquet": 70_000,
        "text ä.txt": 50,
        "empty.txt": 0,
    }
    for name, size in {**sizes, **{f"many/{k:02d}.txt": k for k in range(60)}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(generator.bytes(size))
    return root


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_goes_up_comes_down_to_the_byte(hub: LoopbackHub, api: HfApi, folder: Path, tmp_path: Path) -> None:
    api.create_repo(REPO, private=True)
    api.upload_folder(folder_path=folder, repo_id=REPO)
    assert sorted(api.list_repo_files(REPO)) == [".gitattributes", *names(folder)]
    tree = {entry.path: entry for entry in api.list_repo_tree(REPO, recursive=True)}
    assert {"a", "a/b", "many"} < tree.keys()
    assert (
        tree["large.safetensors"].lfs.sha256 == hashlib.sha256((folder / "large.safetensors").read_bytes()).hexdigest()
    )
    assert api.get_paths_info(REPO, ["a/small.bin"])[0].size == 10
    down = Path(api.snapshot_download(REPO, cache_dir=tmp_path / "cache"))
    assert names(down) == [".gitattributes", *names(folder)]
    for name in names(folder):
        assert (down / name).read_bytes() == (folder / name).read_bytes()
    assert len([p for p in hub.sent("PUT", "/lfs/") if p.count("/") == 3]) == 3  # the large one, in parts


def test_a_download_that_broke_off_goes_on_where_it_was(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(24_000_000)  # the client writes 10 MiB at a time
    api.create_repo(REPO)
    api.upload_file(path_or_fileobj=content, path_in_repo="large.safetensors", repo_id=REPO)
    faults = ["half"]
    hub.fault = lambda method, path: faults.pop() if faults and method == "GET" and "/lfs/" in path else None
    down = api.hf_hub_download(REPO, "large.safetensors", cache_dir=tmp_path / "cache")
    assert Path(down).read_bytes() == content
    assert [status for method, path, status in hub.log if method == "GET" and "/lfs/" in path] == [200, 206]


def test_who_may_do_what(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO, private=True)
    assert api.whoami()["name"] == "anna"
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    wrong, reader, other = (HfApi(endpoint=hub.url, token=token) for token in ("hf_wrong", "hf_reader", "hf_bert"))
    for call in (wrong.whoami, lambda: wrong.create_repo("anna/x"), lambda: _write(wrong)):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert error.value.response.status_code == 401
    with pytest.raises(HfHubHTTPError, match="403"):
        _write(reader)
    with pytest.raises(RepositoryNotFoundError):
        other.repo_info(REPO)
    api.update_repo_settings(REPO, private=False)
    assert other.repo_info(REPO).private is False
    with pytest.raises(HfHubHTTPError, match="403"):
        _write(other)
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO)


def _write(api: HfApi) -> None:
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=REPO)


def test_revisions(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO)
    _write(api)
    first = api.repo_info(REPO).sha
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="next")
    api.upload_file(path_or_fileobj=b"y", path_in_repo="y.txt", repo_id=REPO, revision="next")
    assert "y.txt" not in api.list_repo_files(REPO)
    assert "y.txt" in api.list_repo_files(REPO, revision="next")
    assert api.repo_info(REPO, revision="v1").sha == first
    refs = api.list_repo_refs(REPO)
    assert ({one.name for one in refs.branches}, {one.name for one in refs.tags}) == ({"main", "next"}, {"v1"})
    request = api.upload_file(path_or_fileobj=b"z", path_in_repo="z.txt", repo_id=REPO, create_pr=True)
    assert (request.pr_num, "z.txt" in api.list_repo_files(REPO)) == (1, False)
    assert "z.txt" in api.list_repo_files(REPO, revision="refs/pr/1")
    assert len(api.list_repo_commits(REPO)) >= 2
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(REPO, revision="v9")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPO, "nothing.txt")
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(REPO, [CommitOperationAdd("w.txt", b"w")], commit_message="late", parent_commit="0" * 40)


def test_cards_that_do_not_validate_are_refused_before_the_upload(hub: LoopbackHub, api: HfApi) -> None:
    api.create_repo(REPO)
    with pytest.raises(ValueError, match="license"):
        api.upload_file(path_or_fileobj=b"---\nlicense: nonsense\n---\n", path_in_repo="README.md", repo_id=REPO)
    assert not hub.sent("POST", "/preupload/")


@pytest.mark.slow
def test_datasets_and_transformers_push_and_pull(hub: LoopbackHub, tmp_path: Path) -> None:
    code = """
import torch
from datasets import Dataset, DatasetDict, load_dataset
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification, ViTImageProcessor
data = DatasetDict({split: Dataset.from_dict({"x": list(range(9))}) for split in ("train", "test")})
data.push_to_hub("anna/numbers", private=True)
data.push_to_hub("anna/numbers", private=True)
assert load_dataset("anna/numbers")["test"]["x"][:] == list(range(9))
small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
model = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **small))
model.push_to_hub("anna/vit", private=True)
ViTImageProcessor().push_to_hub("anna/vit", private=True)
again = AutoModelForImageClassification.from_pretrained("anna/vit")
assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
"""
    done = python(hub, "-c", code, cwd=tmp_path, HF_HOME=str(tmp_path / "hf"), HF_HUB_DISABLE_XET="1")
    assert done.returncode == 0, done.stderr
    assert len(hub.repos["dataset", "anna/numbers"].commits) == 2  # the initial one, and one for the same data twice
    assert hub.repos["model", "anna/vit"].private


def test_a_snapshot_needs_no_token_in_public(hub: LoopbackHub, api: HfApi, tmp_path: Path) -> None:
    api.create_repo(REPO)
    _write(api)
    down = snapshot_download(REPO, endpoint=hub.url, token=False, cache_dir=tmp_path / "cache")
    assert (Path(down) / "x.txt").read_bytes() == b"x"
