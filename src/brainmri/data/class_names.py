"""What the names of classes say: the kind of tumour, none, or any; and which two cannot both be true of one image."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import combinations

import pandas as pd

from brainmri.data.dataset import WITHOUT_TUMOR, plain_name

OR = re.compile(r"(?:\s+|_|-)or(?:\s+|_|-)", re.IGNORECASE)  # merged classes are called "a or b", see as_binary
# What the names of classes hold beside the kind of tumour, and other words for the kinds.
FILLING = re.compile(r"tumou?rs?|brain|mri|class|cases?|images?|patients?")
KINDS = {
    "glioma": {
        "glioma",
        "gliomas",
        "glioblastoma",
        "gbm",
        "astrocytoma",
        "lgg",
        "hgg",
        "highgradeglioma",
        "lowgradeglioma",
    },
    "meningioma": {"meningioma", "meningiomas"},
    "pituitary": {"pituitary", "pituitaries", "adenoma", "pituitaryadenoma", "pituitaryadenomas"},
}
ANY_TUMOUR = {"tumor", "tumour", "tumors", "tumours", "braintumor", "braintumour", "yes", "positive", "lesion"}
NO_TUMOUR, SOME_TUMOUR = "no tumour", "any tumour"


def kind_of_class(name: str) -> str | None:
    """What the name of a class says: one of `KINDS`, `NO_TUMOUR`, `SOME_TUMOUR`, or nothing that is known."""
    plain = plain_name(name)
    if plain in WITHOUT_TUMOR:
        return NO_TUMOUR
    if plain in ANY_TUMOUR:
        return SOME_TUMOUR
    bare = FILLING.sub("", plain)
    if bare in WITHOUT_TUMOR:
        return NO_TUMOUR
    return next((kind for kind, words in KINDS.items() if bare in words), None)


def contradictions(*vocabularies: Collection[str]) -> set[frozenset[str]]:
    """The pairs of class names that cannot both be true of one image.

    "glioma" and "glioma_tumor" are one class, and "yes" is true of every glioma. Names that say nothing known, or the
    same kind of tumour ("lgg", "hgg"), contradict each other where one data set tells them apart; names of two data
    sets are not held against each other then.

    Args:
        vocabularies: the classes of each data set.
    """
    names = sorted(set().union(*vocabularies))
    together = {pair for own in vocabularies for pair in combinations(sorted(set(own)), 2)}
    meanings = {name: [_meaning(part) for part in OR.split(name)] for name in names}
    return {
        frozenset((one, other))
        for one, other in combinations(names, 2)
        if all(
            _contradict(left, right, told_apart=(one, other) in together)
            for left in meanings[one]
            for right in meanings[other]
        )
    }


def contradictory_sets(sets: pd.Series, labels: pd.Series, pairs: set[frozenset[str]]) -> list[str]:
    """The values of `sets` (one for each image) whose images have two labels of `pairs`, see `contradictions`."""
    names = labels.groupby(sets).unique()
    several = names[names.map(len) > 1]
    return [str(one) for one, own in several.items() if any(frozenset(two) in pairs for two in combinations(own, 2))]


def _meaning(name: str) -> tuple[str, str | None]:
    """The name without what people write differently, and what it says."""
    plain = plain_name(name)
    return FILLING.sub("", plain) or plain, kind_of_class(name)


def _contradict(one: tuple[str, str | None], other: tuple[str, str | None], *, told_apart: bool) -> bool:
    (name, kind), (other_name, other_kind) = one, other
    if name == other_name:
        return False
    if kind is None or other_kind is None or (kind == other_kind and kind in KINDS):
        return told_apart
    return kind != other_kind and (NO_TUMOUR in (kind, other_kind) or SOME_TUMOUR not in (kind, other_kind))
