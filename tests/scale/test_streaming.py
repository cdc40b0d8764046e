"""Training images streamed from Parquet shards: once each, the same pixels, over processes, workers and a kill."""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from accelerate import skip_first_batches
from safetensors.numpy import load_file

from brainmri.data.dataset import open_prepared
from brainmri.data.pixel_cache import pixel_cache
from brainmri.data.shards import as_published, is_sharded, local_part, open_shards
from brainmri.training.streaming import StreamedImages, class_of

from ..hub.loopback import LoopbackHub
from ..scripts import run_here
from ..training.conftest import TINY, result_of
from .conftest import TRAIN, Launch

pytestmark = pytest.mark.integration  # each starts from shards that the command has written

EPOCHS = "24"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="session")
def tree(phantom: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the set's repository: six training shards of different sizes, row groups of seven images."""
    base = tmp_path_factory.mktemp("published")
    words = ["--repo", "anna/phantom", "--license", "cc0-1.0", "--dry-run", base / "dry"]
    done = run_here("publish.py", "dataset", phantom, *words, environment=environment)
    assert done.returncode == 0, done.stderr
    folder = next((base / "dry").rglob("dataset.json")).parent
    for path in folder.glob("data/*.parquet"):
        table = pyarrow.parquet.read_table(path)
        path.unlink()
        cuts = np.linspace(0, 1, 7 if path.name.startswith("train") else 2) ** 1.3 * len(table)
        ends = cuts.round().astype(int).tolist()
        for number, (first, last) in enumerate(itertools.pairwise(ends)):
            own = path.with_name(f"{path.name.split('-')[0]}-{number:05d}-of-{len(ends) - 1:05d}.parquet")
            pyarrow.parquet.write_table(table.slice(first, last - first), own, row_group_size=7)
    return folder


@pytest.fixture(autouse=True)
def cache(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", environment["BRAINMRI_CACHE"])


@pytest.fixture
def images(tree: Path) -> StreamedImages:
    shards = open_shards(str(tree))
    return StreamedImages(shards, class_of(shards, local_part(shards)), 32, 42)


def _epoch(images: StreamedImages, epoch: int, processes: int, workers: int, batch: int, accumulation: int = 1):
    """The batches of every process in an epoch."""
    images.set_epoch(epoch)
    return [
        list(
            images.loader(
                batch=batch,
                accumulation=accumulation,
                rank=rank,
                processes=processes,
                workers=workers,
                pin_memory=False,
            )
        )
        for rank in range(processes)
    ]


@pytest.mark.parametrize(
    ("processes", "workers", "batch", "accumulation"),
    [(1, 0, 8, 1), (2, 0, 8, 1), (2, 2, 4, 2), (3, 2, 5, 1), (5, 0, 24, 1), (2, 3, 61, 1)],
)
def test_each_image_comes_once_in_an_epoch(
    images: StreamedImages, processes: int, workers: int, batch: int, accumulation: int
) -> None:
    assert len(images) == 122
    orders = []
    for epoch in range(2):
        ranks = _epoch(images, epoch, processes, workers, batch, accumulation)
        steps = 122 // (processes * batch * accumulation) * accumulation
        assert [len(batches) for batches in ranks] == [steps] * processes
        assert all(len(one["labels"]) == batch for batches in ranks for one in batches)
        seen = torch.cat([one["positions"] for batches in ranks for one in batches]).tolist()
        assert len(set(seen)) == len(seen) == steps * processes * batch
        assert set(seen) <= set(range(122))  # less than a global batch waits for another epoch
        assert 122 - len(seen) < processes * batch * accumulation
        orders.append(seen)
    assert orders[0] != orders[1]


def test_every_image_has_its_turn_and_classes_are_mixed(images: StreamedImages) -> None:
    epochs = [_epoch(images, epoch, 2, 0, 8)[0] for epoch in range(16)]  # of one process alone
    seen = torch.cat([one["positions"] for batches in epochs for one in batches]).unique()
    assert len(seen) == 122
    classes = [len(one["labels"].unique()) for batches in epochs for one in batches]
    assert np.mean(classes) > 2.5  # the shards are sorted by class


def test_pixels_labels_and_names_are_those_of_the_prepared_folder(
    images: StreamedImages, tree: Path, phantom: Path
) -> None:
    data = open_prepared(phantom)
    pixels, rows = pixel_cache(data, 32), data.rows("train")
    labels = data.labels(rows)
    for one in _epoch(images, 0, 1, 0, 8)[0]:
        np.testing.assert_array_equal(one["pixel_values"], pixels.read(rows[one["positions"]]))
        np.testing.assert_array_equal(one["labels"], labels[one["positions"]])
        assert one["uniform"].min() >= 0
        assert one["uniform"].max() < 1
    shards = open_shards(str(tree))
    part = as_published(local_part(shards), shards)
    assert part.info.fingerprint == data.info.fingerprint
    for split in ("validation", "test"):
        own, whole = (one.index[one.index["split"] == split].reset_index(drop=True) for one in (part, data))
        shared = [name for name in whole.columns if name in own.columns and name != "source"]  # which is not published
        assert {"file_name", "label", "group_id", "site"} <= set(shared)
        pd.testing.assert_frame_equal(own[shared], whole[shared])
        np.testing.assert_array_equal(
            pixel_cache(local_part(shards), 32).read(part.rows(split)), pixels.read(data.rows(split))
        )


def test_random_numbers_depend_on_image_and_epoch_alone(images: StreamedImages) -> None:
    def by_image(epoch: int, processes: int) -> dict[int, list[float]]:
        batches = [one for rank in _epoch(images, epoch, processes, 0, 61 // processes) for one in rank]
        return {int(p): u.tolist() for one in batches for p, u in zip(one["positions"], one["uniform"], strict=True)}

    one, two, later = by_image(0, 1), by_image(0, 2), by_image(1, 1)
    both = one.keys() & two.keys()
    assert len(both) > 100
    assert all(one[position] == two[position] for position in both)
    assert all(one[position] != later[position] for position in one.keys() & later.keys())


def test_an_epoch_goes_on_after_skipped_batches(images: StreamedImages) -> None:
    how = {"batch": 4, "accumulation": 1, "rank": 1, "processes": 2, "workers": 2, "pin_memory": False}
    images.set_epoch(1)
    whole = [one["positions"].tolist() for one in images.loader(**how)]
    assert [one["positions"].tolist() for one in skip_first_batches(images.loader(**how), 5)] == whole[5:]


def test_fewer_images_than_a_global_batch_are_refused(images: StreamedImages) -> None:
    with pytest.raises(ValueError, match="122 training images are fewer than one global batch of 128"):
        images.loader(batch=64, accumulation=1, rank=0, processes=2, workers=0, pin_memory=False)


@pytest.fixture(scope="module")
def streamed(launch: Launch, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on streamed images, in two processes."""
    run = tmp_path_factory.mktemp("runs") / "two"
    arguments = ["--data_dir", str(tree), "--num_train_epochs", EPOCHS, "--ood", "true", "--output_dir", str(run)]
    done = launch(TORCHRUN, *arguments)
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.slow  # several trainings
def test_two_processes_train_on_streamed_images_and_leave_a_whole_run_folder(streamed: Path, phantom: Path) -> None:
    result, data = result_of(streamed), open_prepared(phantom)
    training = result["training"]
    assert (training["world_size"], training["samples_by_rank"]) == (2, [48, 48])  # the run stops if they overlap
    history = pd.read_csv(streamed / "history.csv")
    assert history["epoch"].tolist() == [*range(1, int(EPOCHS) + 1)]
    losses = history["train_loss"].to_numpy()  # of another part of the few images in each epoch, hence means
    assert losses[12:].mean() < losses[:8].mean() - 0.01
    assert result["data"]["counts"] == data.info.counts
    assert result["data"]["fingerprint"] == data.info.fingerprint
    assert result["floors"]["majority"] == pytest.approx(data.info.counts["test"]["glioma"] / 39)
    assert (result["floors"]["nearest_neighbour"], result["floors"]["global_statistics"]) == (None, None)
    assert isinstance(result["ood"], dict)
    table = pd.read_csv(streamed / "predictions.csv")
    for split in ("validation", "test"):
        names = table.loc[table["split"] == split, "file_name"].tolist()
        assert names == data.index["file_name"].iloc[data.rows(split)].tolist()
    for name in ("README.md", "report.html", "model.safetensors", "figures/class_counts.png", "figures/samples.png"):
        assert (streamed / name).is_file()


@pytest.mark.slow
def test_a_killed_streamed_run_goes_on_to_the_same_end(
    streamed: Path, tree: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    own = ["--data_dir", str(tree), "--num_train_epochs", EPOCHS, "--output_dir", str(run)]
    command = [*TORCHRUN, TRAIN, *TINY, *own]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 180
        while not any(run.glob("checkpoints/stage-1/checkpoint-*/trainer_state.json")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        _kill_group(process.pid)
    assert not (run / "result.json").exists()
    done = subprocess.run(
        [*command, "--resume_from_checkpoint", "true"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    figures = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy"]
    first, second = (pd.read_csv(folder / "history.csv")[figures] for folder in (streamed, run))
    np.testing.assert_allclose(first, second, atol=1e-6)
    weights = load_file(streamed / "model.safetensors")
    for name, tensor in load_file(run / "model.safetensors").items():
        np.testing.assert_allclose(tensor, weights[name], atol=1e-6)


def _kill_group(leader: int) -> None:
    import psutil

    for process in (*psutil.Process(leader).children(recursive=True), psutil.Process(leader)):
        process.send_signal(signal.SIGKILL)


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    running = LoopbackHub()
    yield running
    running.close()


@pytest.fixture
def on_the_hub(hub: LoopbackHub, tree: Path, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment in which hf://datasets/anna/phantom is the tree."""
    own = {key: value for key, value in environment.items() if not key.startswith("HF_")}
    own |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_anna", "HF_HUB_DISABLE_XET": "1"}
    own |= {"HF_HOME": str(tmp_path / "hf"), "BRAINMRI_CACHE": str(tmp_path / "cache")}
    upload = (
        "from huggingface_hub import HfApi; import sys; api = HfApi();"
        "own = {'repo_id': 'anna/phantom', 'repo_type': 'dataset'};"
        "api.create_repo(**own); api.upload_folder(**own, folder_path=sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", upload, str(tree)], env=own, check=True, capture_output=True)
    return own


READ = """
import json
from brainmri.data.shards import local_part, open_shards
from brainmri.training.streaming import StreamedImages, class_of
shards = open_shards("hf://datasets/anna/phantom@main")
images = StreamedImages(shards, class_of(shards, local_part(shards)), 32, 42)
how = dict(batch=8, accumulation=1, processes=2, workers=2, pin_memory=False)
seen = [[p for b in images.loader(rank=rank, **how) for p in b["positions"].tolist()] for rank in range(2)]
print(json.dumps(seen))
try:
    open_shards("hf://datasets/anna/nothing")
except ValueError as error:
    print(error)
"""


@pytest.mark.integration
def test_shards_on_the_hub_are_read_from_one_commit(
    hub: LoopbackHub, on_the_hub: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", READ], env=on_the_hub, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seen, refusal = done.stdout.strip().splitlines()
    first, second = map(set, json.loads(seen))
    assert (len(first), len(second), len(first | second)) == (56, 56, 112)
    assert refusal.startswith("--data_dir hf://datasets/anna/nothing: no such data set on the Hub")
    commit = hub.repos["dataset", "anna/phantom"].branches["main"]
    reads = {path for path in hub.sent("GET", "/resolve/") if path.endswith(".parquet")}
    assert reads
    assert all(f"/resolve/{commit}/" in path for path in reads)
    assert not list((tmp_path / "hf").rglob("*.parquet"))  # no shard is kept on the disk


@pytest.mark.integration
def test_the_test_split_of_the_hub_is_scored(on_the_hub: dict[str, str], phantom: Path, tmp_path: Path) -> None:
    """Predictions, since nothing that computes is needed to see which images are scored."""
    index = open_prepared(phantom).index
    own = index[index["split"] == "test"]
    classes = sorted(set(index["label"]))
    right = {f"p_{name}": (own["label"] == name).astype(float) for name in classes}
    own[["file_name"]].assign(**right).to_csv(tmp_path / "mine.csv", index=False)
    command = [sys.executable, TRAIN.replace("train.py", "evaluate.py"), str(tmp_path / "mine.csv")]
    command += ["--dataset_name", "anna/phantom", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=on_the_hub, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert (scores["scores"]["accuracy"], scores["scores"]["n"]) == (1.0, len(own))
    assert scores["data"]["fingerprint"] == open_prepared(phantom).info.fingerprint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--data DIR or --dataset_name OWNER/NAME is needed"),
        (["--dataset_name", "a/b", "--split", "all"], "only the validation and test images are read"),
        (["--dataset_name", "a/b", "--data", "d"], "--dataset_name a/b and --data_dir d: give one of them"),
    ],
)
def test_evaluate_takes_one_data_set(words: list[str], says: str) -> None:
    done = run_here("evaluate.py", "predictions.csv", *words)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.slow
def test_a_run_streams_from_the_hub(on_the_hub: dict[str, str], tmp_path: Path) -> None:
    own = ["--num_train_epochs", "2", "--output_dir", str(tmp_path / "run"), "--dataloader_num_workers", "2"]
    command = [sys.executable, TRAIN, *TINY, "--dataset_name", "anna/phantom", *own]
    done = subprocess.run(command, env=on_the_hub, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert result_of(tmp_path / "run")["training"]["samples_by_rank"] == [96]


@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        (["--recipe", "oversample=true"], "--recipe oversample=false"),
        (["--recipe", "duplicate_aware_sampling=true"], "--recipe duplicate_aware_sampling=false"),
        (["--recipe", "hard_example_share=0.5"], "--recipe hard_example_share=1"),
        (
            ["--recipe", "domain_randomization=true"],
            "--recipe augmentation.histogram_matching=0 augmentation.copy_paste=0 augmentation.hemisphere_mirroring=0",
        ),
        (
            ["--recipe", "stages=[{epochs: 1, learning_rate: 0.01, freeze: backbone, cached_views: 1}]"],
            "--recipe stages.0.cached_views=null",
        ),
        (["--folds", "3"], "--folds divides the images anew: leave it out"),
        (["--evaluate_train", "true"], "--evaluate_train reads the images once more: leave it out"),
        (["--dataloader_persistent_workers", "true"], "leave it out"),
    ],
)
def test_what_streaming_cannot_do_is_refused_with_the_override(
    tree: Path, tmp_path: Path, flags: list[str], remedy: str
) -> None:
    done = run_here("train.py", "--arch", "cnn_4x4", "--data_dir", tree, "--output_dir", tmp_path / "run", *flags)
    assert done.returncode == 2
    assert "is streamed, and" in done.stderr
    assert remedy in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_is_no_prepared_set_of_shards_is_one_sentence(tree: Path, phantom: Path, tmp_path: Path) -> None:
    assert not is_sharded(str(phantom))
    assert not is_sharded(None)
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    info = json.loads((copy / "dataset.json").read_text())
    counts = info["counts"]["train"] | {"glioma": 1}
    (copy / "dataset.json").write_text(json.dumps(info | {"counts": info["counts"] | {"train": counts}}))
    with pytest.raises(ValueError, match=r"122 train images in its shards, 81 in its dataset\.json"):
        local_part(open_shards(str(copy)))
    (copy / "dataset.json").write_text(json.dumps(info | {"classes": ["../up", "b"]}))
    with pytest.raises(ValueError, match="odd class name"):
        open_shards(str(copy))
    (copy / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match=r"dataset\.json: schema version None found, 2 expected"):
        open_shards(str(copy))
    for path in copy.glob("data/test-*"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no data/test-\*\.parquet"):
        open_shards(str(copy))


def test_a_name_that_leaves_the_cache_is_refused(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy)
    path = sorted(copy.glob("data/validation-*.parquet"))[0]
    table = pyarrow.parquet.read_table(path)
    names = ["validation/glioma/../../x.png", *table["file_name"].to_pylist()[1:]]
    place = table.schema.get_field_index("file_name")
    pyarrow.parquet.write_table(table.set_column(place, "file_name", pyarrow.array(names)), path)
    with pytest.raises(ValueError, match="is no file name of a prepared set"):
        local_part(open_shards(str(copy)))
    assert not list(tmp_path.rglob("x.png"))
