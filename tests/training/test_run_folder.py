"""What stands in the output folder already is not lost: --overwrite destroys last, and only what a run wrote."""

import json
import shutil
from pathlib import Path

import pytest

from brainmri.files import finishing, is_finished
from brainmri.training.trainer import SliceTrainer

from .conftest import TINY, Train, result_of

pytestmark = pytest.mark.integration  # each starts from a training


@pytest.fixture(autouse=True)
def _messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of seed 42."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def again(phantom: Path, run: Path) -> list[str]:
    """The arguments of a run of seed 5 that replaces it."""
    short = ["--data_dir", str(phantom), "--num_train_epochs", "1", "--seed", "5"]
    return [*TINY, *short, "--output_dir", str(run), "--overwrite"]


def fails(*_: object, **__: object) -> None:
    raise ValueError("the training failed")


@pytest.mark.parametrize(
    "mistake",
    [
        ["--data_dir", "nowhere"],
        ["--weights", "nowhere.safetensors"],
        ["--recipe", "colour=red"],
        ["--per_device_train_batch_size", "many"],
        ["--resume_from_checkpoint", "true"],
    ],
    ids=lambda mistake: mistake[0],
)
def test_a_mistake_costs_nothing(mistake: list[str], train_here: Train, run: Path, again: list[str]) -> None:
    before = contents(run)
    assert train_here(*again, *mistake).returncode == 2
    assert contents(run) == before
    assert [path.name for path in run.parent.iterdir() if not path.name.startswith(".")] == ["run"]


@pytest.mark.parametrize("folder", ["checkpoints", "fold0", "figures"])
def test_what_is_no_run_is_never_removed(folder: str, train_here: Train, run: Path, again: list[str]) -> None:
    shutil.rmtree(run)
    (run / folder).mkdir(parents=True)
    (run / folder / "chapter.tex").write_text("mine")
    (run / "recipe.yaml").write_text("mine")
    (run / "result.json").write_text('{"schema_version": 1}')
    for arguments, words in ((again, "does not look like a run folder"), (again[:-1], "is not empty")):
        done = train_here(*arguments)
        assert (done.returncode, words in done.stderr) == (2, True)
    assert (run / folder / "chapter.tex").read_text() == "mine"


def test_a_run_is_replaced_at_the_first_checkpoint_and_notes_are_kept(
    train_here: Train, run: Path, again: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "run.json").unlink()  # as earlier versions left a run
    seen = []
    save = SliceTrainer._save_checkpoint

    def watched(trainer: SliceTrainer, *args: object, **kwargs: object) -> None:
        asides = list(run.parent.glob("run.replaced-*"))
        seen.append([(aside / "result.json").is_file() for aside in asides])
        save(trainer, *args, **kwargs)
        seen.append([(aside / "result.json").is_file() for aside in asides])

    monkeypatch.setattr(SliceTrainer, "_save_checkpoint", watched)
    done = train_here(*again)
    assert done.returncode == 0, done.stderr
    assert seen == [[True], [False]]
    assert result_of(run)["seed"] == 5
    (aside,) = run.parent.glob("run.replaced-*")
    assert contents(aside) == {"notes.txt": b"mine"}
    assert f"Kept in {aside}, as no run wrote it: notes.txt" in caplog.text


def test_a_run_comes_back_if_nothing_comes_of_the_new_one(
    train_here: Train, run: Path, again: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (run / "notes.txt").write_text("mine")
    before = contents(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SliceTrainer, "train", fails)
        done = train_here(*again)
    assert done.stderr == "error: the training failed\n"
    assert contents(run) == before
    assert not list(run.parent.glob("run.replaced-*"))
    assert f"{run} is again the run that was there before" in caplog.text


@pytest.mark.parametrize("when", ["moved", "made", "begun"])
def test_a_run_comes_back_at_the_next_start_after_a_kill(
    when: str, train_here: Train, run: Path, again: list[str], finished: Path
) -> None:
    before = contents(run)
    record = json.loads((run / "run.json").read_text())
    run.rename(run.with_name("run.replaced-20261128T120000"))
    if when != "moved":
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "splits.csv").write_text("image,split\n")
    if when == "begun":
        record["settings"]["seed"] = 5
        (run / "run.json").write_text(json.dumps(record | {"replaces": "run.replaced-20261128T120000"}))
    done = train_here(*again[:-1])  # another run, which must not take the folder
    assert done.returncode == 2
    assert "the seed was 42 and is now 5" in done.stderr
    assert contents(run) == before
    assert [path.name for path in run.parent.iterdir() if not path.name.startswith(".")] == ["run"]


def test_result_json_comes_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(OSError, match="full"), finishing(run) as made:
        (made / "result.json").write_text("{}")
        raise OSError("the disk is full")
    assert not is_finished(run)
    (run / "result.json").write_text("of an earlier training")
    with finishing(run) as made:
        assert not list(made.iterdir())
        (made / "figures").mkdir()
        for name in ("result.json", "report.html", "figures/a.png"):
            (made / name).write_text("new")
    assert contents(run) == {"result.json": b"new", "report.html": b"new", "figures/a.png": b"new"}
    assert is_finished(run)
    (run / "report.html").unlink()
    assert not is_finished(run)


def test_a_run_that_was_killed_as_it_began_starts_anew(train_here: Train, phantom: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("checkpoints/splits.csv", "run.json.tmp"):
        (run / name).write_text("half")
    short = ["--data_dir", str(phantom), "--num_train_epochs", "1", "--output_dir", str(run)]
    done = train_here(*TINY, *short)
    assert done.returncode == 0, done.stderr
    assert not (run / "run.json.tmp").exists()
