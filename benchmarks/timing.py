"""Turns of several ways to do one job, and what their times say about a target."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from tqdm.auto import tqdm

# A way is prepared without the clock; what that returns is run under it.
Way = Callable[[], Callable[[], object]]


def clock() -> float:
    """Seconds on a clock of arbitrary zero, once the accelerator (where there is one) has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(ways: Mapping[str, Way], repeats: int, job: str) -> dict[str, list[float]]:
    """Seconds of each way, `repeats` of them, taken as A B A B ...: whatever else the machine does hits all alike.

    job: what the progress bar is called.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tqdm(total=repeats * len(ways), desc=job, unit="run") as progress:
        for _ in range(repeats):
            for name, prepare in ways.items():
                progress.set_postfix_str(name)
                run = prepare()
                start = clock()
                run()
                seconds[name].append(clock() - start)
                progress.update()
    return seconds


def comparison(
    title: str,
    seconds: Mapping[str, list[float]],
    *,
    reference: str | None = None,
    images: int | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One comparison, as it stands in `benchmark.json`.

    Args:
        title: what was done.
        seconds: by way, every repetition.
        reference: the way whose median divides the others' in `ratios`; None where each way stands alone.
        images: that one repetition processed, for `images_per_second`.
        at_least, at_most: the target, which all ratios have to meet (without a reference: all medians, in seconds). So
            the strongest of several baselines decides.
        more: further entries.
    """
    medians = {name: median(values) for name, values in seconds.items()}
    ratios = {name: value / medians[reference] for name, value in medians.items() if reference and name != reference}
    judged = list((ratios if reference else medians).values())
    target = {"at_least": at_least} if at_least is not None else {"at_most": at_most} if at_most is not None else None
    met = None
    if target and judged:
        met = min(judged) >= at_least if at_least is not None else max(judged) <= (at_most or 0)
    return {
        "title": title,
        "reference": reference,
        "images": images,
        "seconds": dict(seconds),
        "medians": medians,
        "images_per_second": {name: images / value for name, value in medians.items()} if images else None,
        "ratios": ratios,
        "target": target,
        "met": met,
        **more,
    }
