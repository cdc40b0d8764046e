"""The precision of a run: float32 unless a flag says otherwise, never what a stopwatch found."""

import json
from pathlib import Path

import pytest

from brainmri.models.introspect import resolve
from brainmri.training.arguments import stage_arguments


@pytest.mark.integration
def test_a_run_without_a_flag_is_float32_and_nothing_was_timed_for_it(finished: Path) -> None:
    training = json.loads((finished / "result.json").read_text())["training"]
    assert training["precision"] == "fp32"
    assert "precision_probe" not in training


def test_the_launcher_may_say_it_too_and_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resolve("cnn_4x4")

    def precision(**given: bool) -> tuple[bool, bool]:
        arguments = stage_arguments(recipe, recipe.stages[0], given, 1, str(tmp_path))
        return arguments.bf16, arguments.fp16

    assert precision() == (False, False)
    assert precision(bf16=True) == (True, False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # what `accelerate launch --mixed_precision bf16` sets
    assert precision() == (True, False)  # the Trainer would take it anyway, and result.json call it fp32
    with pytest.raises(ValueError, match=r"--mixed_precision bf16 contradicts train.py: leave it out there"):
        precision(bf16=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ValueError, match=r"--mixed_precision fp8 contradicts train.py"):
        precision()
