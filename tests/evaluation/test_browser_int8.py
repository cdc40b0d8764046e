"""Weights of 8 bits are used where a run's own test split is answered as well by them, and not otherwise."""

import pytest

from brainmri.evaluation.browser_int8 import failures, int8_sentence
from brainmri.schemas import BrowserInt8

GOOD = BrowserInt8(
    bytes=3_590_170,
    images=1404,
    lost=-0.0036,
    lost_ci95=[-0.0071, 0.0049],
    ece_grown=0.0099,
    same_abstentions=0.991,
    used=True,
)


def test_what_is_within_all_limits_is_used() -> None:
    assert failures(GOOD) == []
    assert int8_sentence(GOOD) == (
        "Weights of 8 bits: 3.59 MB; on 1,404 test images -0.36 points of accuracy lost [-0.71, 0.49], calibration "
        "error +0.0099, 99.1 % of the abstentions stay. The page runs them."
    )
    assert failures(GOOD.model_copy(update={"same_abstentions": None})) == []  # nothing ever abstains


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lost_ci95": [-0.01, 0.0051]}, "more than 0.5 points of accuracy may be lost"),
        ({"lost_ci95": None}, "more than 0.5 points of accuracy may be lost"),  # one group: nothing is known
        ({"ece_grown": 0.0101}, "the calibration error grows by more than 0.01"),
        ({"same_abstentions": 0.9899}, "fewer than 99 % of the abstentions stay"),
        ({"bytes": 4_000_001}, "the file is larger than 4 MB"),
    ],
)
def test_each_limit_keeps_float32(change: dict, reason: str) -> None:
    found = GOOD.model_copy(update=change)
    assert failures(found) == [reason]
    assert int8_sentence(found).endswith(f"Not used, since {reason}: the page runs float32.")
