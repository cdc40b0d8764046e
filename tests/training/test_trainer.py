"""Rules of the trainer that need no training."""

from types import SimpleNamespace
from typing import cast

import pytest

from brainmri.training.trainer import SliceTrainer


@pytest.mark.parametrize(("minutes", "stops"), [(None, False), (1.0, True), (1.01, False), (0.1, True)])
def test_no_epoch_starts_that_would_end_too_late(minutes: float | None, stops: bool) -> None:
    # Two epochs took 40.2 s, so that the third would end after 60.3 s.
    state, args = SimpleNamespace(epoch=2.0), SimpleNamespace(device="cpu")
    trainer = SimpleNamespace(
        max_minutes=minutes, clock=SimpleNamespace(elapsed_s=40.2, spent_s=0.0), state=state, args=args
    )
    trainer.cut_short = False
    assert SliceTrainer.out_of_time(cast(SliceTrainer, trainer)) is stops
    assert trainer.cut_short is stops


def test_seconds_before_the_first_step_are_not_taken_for_those_of_epochs() -> None:
    state, args = SimpleNamespace(epoch=2.0), SimpleNamespace(device="cpu")
    trainer = SimpleNamespace(
        max_minutes=0.68, clock=SimpleNamespace(elapsed_s=40.0, spent_s=38.5), state=state, args=args
    )
    assert not SliceTrainer.out_of_time(cast(SliceTrainer, trainer))  # one more of 0.75 s ends at 40.75 of 40.8
