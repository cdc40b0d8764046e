"""Nothing but pixels is written and published: words planted in every carrier are looked for everywhere."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from brainmri.io.decode import RejectedImage
from brainmri.io.limits import UploadError
from brainmri.io.open import open_many
from brainmri.io.read import read_image

from ..markers import CARRIERS, FILE_NAME, FOLDER_NAME, MARKERS, REJECTED, files_below, plant, search, unpacked
from ..scripts import run_here
from .conftest import TINY_CNN
from .loopback import LoopbackHub

# What may name the user's own files: tables in his own folders, and what is printed to him. Nothing else, and nothing
# of it on the Hub.
LOCAL_TABLES = {"index.csv", "rejected.csv", "groups.csv", "labels.csv", "audit.json", "audit.html"}
PRINTED = {"prepare_data.py", "audit.py"}
NAMES = {FILE_NAME, FOLDER_NAME}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A source full of words, and what prepare_data.py made of it."""
    work = tmp_path_factory.mktemp("own")
    source, groups = plant(tmp_path_factory.mktemp("source"))
    cache = tmp_path_factory.mktemp("cache")
    done = run_here("prepare_data.py", source, work / "ready", "--groups", groups)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(
        source=source, work=work, cache=cache, printed={"prepare_data.py": done.stdout + done.stderr}
    )


def printed_by(planted: SimpleNamespace, *command: object) -> None:
    done = run_here(*command, environment={"BRAINMRI_CACHE": str(planted.cache)})
    assert done.returncode == 0, done.stderr
    planted.printed[str(command[0])] = planted.printed.get(str(command[0]), "") + done.stdout + done.stderr


def check_local(places: dict[str, bytes]) -> None:
    for word, where in search(places).items():
        outside = {place for place in where if Path(place).name not in LOCAL_TABLES | PRINTED}
        assert word in NAMES, f"{word} in {sorted(where)}"
        assert not outside, f"{word} in {sorted(outside)}"


def test_the_search_finds_every_word_in_the_source(planted: SimpleNamespace) -> None:
    found = search(files_below(planted.source.parents[1]))
    assert found.keys() == MARKERS.keys()


@pytest.mark.integration
def test_nothing_but_pixels_is_in_what_is_prepared_and_audited(planted: SimpleNamespace) -> None:
    printed_by(planted, "audit.py", planted.source, "--out", planted.work / "audit")
    places = files_below(planted.work) | {name: text.encode() for name, text in planted.printed.items()}
    check_local(places)
    images = [name for name in places if name.endswith((".jpg", ".png")) and "ready" in name]
    assert len(images) == 2 * (len(CARRIERS) - len(REJECTED))
    print(f"{len(MARKERS)} words x {len(places)} places of the user's own")


@pytest.mark.integration
def test_the_published_data_set_names_nobody(planted: SimpleNamespace, tmp_path: Path) -> None:
    command = ["dataset", planted.work / "ready", "--repo", "anna/x", "--license", "cc-by-4.0"]
    printed_by(planted, "publish.py", *command, "--dry-run", tmp_path / "tree")
    places = files_below(tmp_path / "tree")
    assert sum(name.endswith(".parquet") for name in places) == 3
    assert search(places) == {}
    print(f"{len(MARKERS)} words x {len(places)} places on the Hub")


def test_data_and_uploads_are_read_by_their_content_into_the_same_pixels(planted: SimpleNamespace) -> None:
    files = sorted(
        file for file in planted.source.rglob("*") if file.is_file() and file.suffix != ".ppm"
    )  # not uploaded
    answers = list(open_many(files))
    assert len(answers) == 2 * (len(CARRIERS) - 1)
    for file, (_, answer) in zip(files, answers, strict=True):
        try:
            ours = read_image(file).image
        except RejectedImage:
            continue  # of several pages, which the demo shows one after the other, or broken
        assert not isinstance(answer, UploadError), (file, answer)
        assert np.array_equal(np.asarray(answer.convert("RGB")), np.asarray(ours.convert("RGB"))), file
        assert answer.info == ours.info == {}


@pytest.mark.slow
def test_a_trained_and_published_model_names_nobody(planted: SimpleNamespace, hub: LoopbackHub, publish) -> None:
    run, ready = planted.work / "runs" / "tiny", planted.work / "ready"
    own = ["--num_train_epochs", "2", "--data_dir", ready, "--output_dir", run]
    printed_by(planted, "train.py", *TINY_CNN, *own)
    places = files_below(planted.work, planted.cache) | {name: text.encode() for name, text in planted.printed.items()}
    check_local(places)
    for command in (["model", run], ["dataset", ready, "--license", "cc-by-4.0"], ["results", run]):
        done = publish(hub, *command)
        assert done.returncode == 0, done.stderr
        places[f"publish.py {command[0]}"] = (done.stdout + done.stderr).encode()
    stored = {
        f"{kind} {place} {name}": blob.content
        for (kind, place), repo in hub.repos.items()
        for files in repo.commits.values()
        for name, blob in files.items()
    }
    stored |= {f"object {oid}": content for oid, content in hub.objects.items()}
    stored |= {"titles": repr([(repo.id, repo.titles, repo.tags) for repo in hub.repos.values()]).encode()}
    stored |= {"requests": repr(hub.log).encode()}
    assert len(hub.repos) == 3
    assert search(stored) == {}
    parts = sum(1 for content in [*places.values(), *stored.values()] for _ in unpacked(content))
    counts = f"{len(places)} local and {len(stored)} published places"
    print(f"{len(MARKERS)} words x {counts} ({parts:,} with what is packed in them)")
