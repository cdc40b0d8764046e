"""One change of one recipe at a time: what each part of the usual training is worth, on the split by patient."""

from __future__ import annotations

import re
from typing import NamedTuple

from brainmri.models.introspect import resolve
from brainmri.runs.reproduce import Row

RECIPE = "efficientnet_lite0_quick"  # which two cores train in minutes
SPLIT_SEED = 42
PLAIN = "as it is"
EVERY_FILE = "duplicate_aware_sampling=false"  # an epoch shows every file, also several of one image


class Ablation(NamedTuple):
    """What differs from `PLAIN`: `changes` of the recipe (`--recipe`), the `formula` of its input, weights, split."""

    name: str
    changes: tuple[str, ...] = ()
    formula: str | None = None
    weights: str = "imagenet"
    split: str = "patients"


ABLATIONS = (
    Ablation(PLAIN),
    Ablation("random weights", weights="random"),
    Ablation("input scaled to 0..1 twice, as source C did", formula="double_scaled"),
    Ablation("input divided by 255 once more, as source B did", formula="imagenet_div255"),
    Ablation("no augmentation", tuple(f"augmentation.{name}=0" for name in resolve(RECIPE).augmentation)),
    Ablation("domain randomization", ("domain_randomization=true",)),
    Ablation("class weights", ("class_weights=balanced",)),
    Ablation("focal loss", ("loss=focal",)),
    Ablation("every file in every epoch", (EVERY_FILE,)),
    Ablation("every file, small classes drawn several times", (EVERY_FILE, "oversample=true")),
    Ablation("drawn several times before the split, as source A did", split="oversample_then_split"),
)


def ablation_rows(seed: int) -> list[Row]:
    """The commands of `ABLATIONS`, in their order, for one seed of training; none has a stored accuracy."""
    return [_row(one, seed) for one in ABLATIONS]


def _row(one: Ablation, seed: int) -> Row:
    name = f"{one.name}, seed {seed}"
    train = ["--arch", RECIPE, "--protocol", "clean", "--seed", str(seed), "--weights", one.weights]
    train += ["--bf16", "false", "--fp16", "false"]
    train += ["--normalize", one.formula] if one.formula else []
    train += ["--recipe", *one.changes] if one.changes else []
    return Row(
        run=name,
        split=one.split,
        data="",
        accuracy=None,
        low=None,
        high=None,
        fingerprint="",
        prepare=("--split", one.split, "--split_seed", str(SPLIT_SEED)),
        train=tuple(train),
        folder=re.sub(r"[^\w.-]+", "-", f"{one.split}-{RECIPE}-{name}"),
    )
