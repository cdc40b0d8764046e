"""How a program ends: one sentence for what its user can mend, none lost, and the traceback of a true fault."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
import torch

from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare
from brainmri.errors import disk_is_full, free_bytes, writing
from brainmri.models.introspect import on_hub

from .scripts import SCRIPTS, run_here

TINY = [
    "--arch",
    "cnn_4x4",
    "--ood",
    "false",
    "--recipe",
    "input.size=32",
    "model.arguments.image_size=32",
    "model.arguments.dropout=0",
]
Train = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    folder = tmp_path_factory.mktemp("faults")
    raw = make_phantom(folder / "raw", subjects=32, size=32, slices_per_subject=6, progress=False)
    ready = prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")
    environment = {"BRAINMRI_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def run(*arguments: object, command: bool = False) -> subprocess.CompletedProcess[str]:
        words = [*TINY, "--data_dir", str(ready), "--disable_tqdm", "true", *map(str, arguments)]
        if command:
            return subprocess.CompletedProcess([sys.executable, str(SCRIPTS / "train.py"), *words], 0, str(environment))
        return run_here("train.py", *words, environment=environment)

    run.environment = environment  # type: ignore[attr-defined]
    return run


@pytest.fixture
def loss_of_step() -> Iterator[Callable[[int, float], None]]:
    """loss_of_step(n, value): from the n-th training step on the loss is this."""
    from torch.nn import functional

    real, seen = functional.cross_entropy, {"steps": 0, "n": 10**9, "value": 0.0}

    def loss(logits: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        seen["steps"] += logits.requires_grad
        found = real(logits, *args, **kwargs)  # type: ignore[arg-type]
        return found * seen["value"] if logits.requires_grad and seen["steps"] >= seen["n"] else found

    with mock.patch("brainmri.training.trainer.functional.cross_entropy", loss):
        yield lambda n, value: seen.update(n=n, value=value)


@pytest.mark.integration
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_in_its_step_and_keeps_the_last_good_checkpoint(
    train: Train, tmp_path: Path, loss_of_step: Callable[[int, float], None], value: float
) -> None:
    loss_of_step(5, value)  # three steps an epoch
    done = train("--num_train_epochs", 4, "--output_dir", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") - done.stderr.count("image/s]\n") <= 1
    what = "nan" if value != value else "infinite"
    assert f"error: the loss is {what} at step 5, epoch 1.33, learning rate 0.0003" in done.stderr
    for advice in ("checkpoint-3 is good", "--learning_rate (3e-05)", "--max_grad_norm (0.5)"):
        assert advice in done.stderr
    [kept] = (tmp_path / "run" / "checkpoints" / "stage-1").glob("checkpoint-*")
    from safetensors.torch import load_file

    assert all(tensor.isfinite().all() for tensor in load_file(kept / "model.safetensors").values())


def test_weights_that_are_no_numbers_are_never_saved(train: Train, tmp_path: Path) -> None:
    from brainmri.training.trainer import EpochRecord

    def spoil(self: EpochRecord, *args: object, **kwargs: object) -> None:
        with torch.no_grad():
            next(self.trainer.model.parameters()).fill_(float("nan"))

    with mock.patch.object(EpochRecord, "on_step_end", spoil):
        done = train("--max_steps", 1, "--save_strategy", "steps", "--save_steps", 1, "--eval_strategy", "no",
                     "--load_best_model_at_end", "false", "--output_dir", tmp_path / "run")  # fmt: skip
    assert (done.returncode, list(tmp_path.glob("run/checkpoints/stage-1/checkpoint-*"))) == (2, [])
    assert "a weight is nan at step 1" in done.stderr


def test_want_of_memory_advises_a_smaller_batch(train: Train, tmp_path: Path) -> None:
    def greedy(*args: object) -> None:
        torch.empty(1 << 50)  # torch's own refusal

    with mock.patch("brainmri.training.trainer.augment", greedy):
        done = train("--output_dir", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: out of memory (another 4503599627370496 bytes")
    assert "try --per_device_train_batch_size 16 --gradient_accumulation_steps 2 (they are 32 and 1 now" in done.stderr
    assert done.stderr.count("\n") - done.stderr.count("image/s]\n") <= 1


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux")
def test_a_full_disk_says_where_and_keeps_the_checkpoint_before(train: Train, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        done = train("--num_train_epochs", 30, "--output_dir", disk / "run", "--save_total_limit", 100)
        whole = list(disk.glob("run/checkpoints/stage-1/checkpoint-*/manifest.json"))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
    assert done.returncode == 2, done.stderr
    assert f"error: no space left in {disk}" in done.stderr.splitlines()[-1]
    assert re.search(r"has \d+ kB\): free some", done.stderr)
    assert whole


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError("1000000 requested and 262112 written"),  # numpy
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598"),  # torch.save
        type("SafetensorError", (Exception,), {})("I/O error: No space left on device (os error 28)"),
    ],
)
def test_every_librarys_word_for_a_full_disk_is_understood(error: Exception) -> None:
    assert disk_is_full(error)
    assert not disk_is_full(RuntimeError("shapes do not fit"))
    assert free_bytes(Path("not/there/yet")) > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--report_to", "wanbd"], "--report_to wanbd: no such integration: did you mean wandb"),
        (["--report_to", "neptune"], "--report_to neptune: "),
        (["--num_train_epochs", "0"], "--num_train_epochs 0.0: more than 0 are needed, or --max_steps"),
        (["--learning_rate", "nan"], "--learning_rate nan: a number from 0 on is needed"),
        (["--learning_rate", "-1"], "--learning_rate -1.0: a number from 0 on is needed"),
        (["--per_device_train_batch_size", "0"], "--per_device_train_batch_size 0: at least 1 is needed"),
        (["--weights", "./random.safetensor"], "./random.safetensor: no such folder or file"),
    ],
)
def test_a_mistake_ends_before_any_work(train: Train, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = train(*arguments, "--output_dir", tmp_path / "run")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert sentence in done.stderr


@pytest.mark.parametrize("script", [path.name for path in sorted(SCRIPTS.glob("*.py"))])
def test_every_script_names_the_flag_that_was_meant(script: str) -> None:
    words = {"publish.py": ["model"], "train.py": []}.get(script, [])
    flag = {
        "train.py": "--ovrwrite",
        "prepare_data.py": "--ovrwrite",
        "publish.py": "--dry_ran",
        "demo.py": "--statc",
    }.get(script, "--outt")
    done = run_here(script, *words, flag)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"error: unknown flag {flag}: did you mean --" in done.stderr


def test_a_mistyped_folder_is_not_sought_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "resnet50-clean-seed42").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    near = "did you mean runs/resnet50-clean-seed42?"
    for place in ("runs/resnet5-clean-seed42", "rums/resnet50-clean-seed42", "./runs/resnet5-clean-seed42"):
        with mock.patch("socket.socket.connect", side_effect=AssertionError("a request")):
            done = run_here("evaluate.py", place, "--data", "nowhere")
            assert (done.returncode, "error: nowhere: no such folder" in done.stderr) == (2, True)
            with pytest.raises(ValueError, match="no such folder or file") as refusal:
                on_hub(place)
        assert near in str(refusal.value)
    with pytest.raises(ValueError, match="only repositories on the Hub have revisions: leave out @main"):
        on_hub("runs/resnet50-clean-seed42@main")
    with pytest.raises(ValueError, match="did you mean owner/name@v1"):
        on_hub("owner@v1/name")
    with pytest.raises(ValueError, match="did you mean owner/name@main"):
        on_hub("https://huggingface.co/owner/name/tree/main")
    assert on_hub("owner/name@v1") == ("owner/name", "v1")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # without a folder `runs`, in which training would put its own
    with pytest.raises(ValueError, match="runs/resnet50: no such folder or file"):
        on_hub("runs/resnet50")


def test_a_full_disk_names_what_was_to_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"no space left in {tmp_path}/copy"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "source.py", None, str(tmp_path / "copy"))


def test_a_true_fault_keeps_its_traceback() -> None:
    code = "from brainmri.cli.command import call\ndef main():\n    return {}['bug']\ncall(main)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "KeyError: 'bug'" in done.stderr, "Traceback" in done.stderr) == (1, True, True)


def test_a_reader_who_goes_ends_it_silently() -> None:
    code = "from brainmri.cli.command import call\ndef main():\n    [print('line') for _ in range(99999)]\ncall(main)"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c \"{code}\" | head -1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("line\n141\n", "")


def _hears_ctrl_c() -> None:
    """What a shell starts in the background does not, and the processes that it starts do not either."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_any_script_with_one_line(number: signal.Signals, status: int) -> None:
    code = "from brainmri.cli.command import call\nimport time\n"
    code += "def main():\n    print('up', flush=True)\n    time.sleep(60)\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code + "call(main)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hears_ctrl_c,
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.splitlines()) == (status, ["stopped; start again with: python -c"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "number", "word"),
    [
        ([sys.executable], signal.SIGINT, "stopped at epoch"),
        (["torchrun", "--nproc_per_node", "2"], signal.SIGINT, "stopped at epoch"),
        (["torchrun", "--nproc_per_node", "2"], signal.SIGKILL, "another process of this training ended at epoch"),
    ],
)
def test_a_training_that_is_stopped_says_how_it_goes_on(
    train: Train, tmp_path: Path, launcher: list[str], number: signal.Signals, word: str
) -> None:
    words = train("--num_train_epochs", 4000, "--output_dir", tmp_path / "run", command=True).args[1:]
    if launcher[0] == "torchrun":
        launcher = [sys.executable, "-m", "torch.distributed.run", *launcher[1:]]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            [*launcher, *words], stdout=subprocess.DEVNULL, stderr=err, start_new_session=True,
            env=os.environ | train.environment,  # type: ignore[attr-defined]
        )  # fmt: skip
    until = time.monotonic() + 240
    while not list(tmp_path.glob("run/checkpoints/stage-1/checkpoint-*/manifest.json")):
        assert process.poll() is None and time.monotonic() < until, (tmp_path / "err").read_text()
        time.sleep(0.2)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    if number == signal.SIGKILL:
        os.kill(int(children[-1]), number)
    else:
        os.killpg(process.pid, number)
    process.wait(60)
    lines = [line for line in (tmp_path / "err").read_text().splitlines() if "continue with: " in line]
    assert len(lines) == 1 and word in lines[0]
    if len(launcher) == 1:
        assert process.returncode == 130
        assert "Traceback" not in (tmp_path / "err").read_text()
    assert not any(Path(f"/proc/{child}/cmdline").exists() for child in children)
