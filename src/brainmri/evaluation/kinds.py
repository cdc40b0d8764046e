"""What a model's training images were, and what follows for an image of another kind or from elsewhere.

Two things are said of each answer: whether the type of a tumour may be believed, and how many tumours of the image's
sequence and plane the model was trained on. Both come from counts that are kept with the run, never from a list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainmri.data.dataset import class_without_tumour
from brainmri.evaluation.sequence import Look, looks
from brainmri.io.read import prepared_image
from brainmri.io.sequence import OTHER, T1, T1_CONTRAST, T1_KINDS, T1_PLAIN, UNKNOWN
from brainmri.metrics.bootstrap import group_bootstrap
from brainmri.schemas import KindCount, TrainingKinds, TypeEvidence
from brainmri.wording import percent, with_interval

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData

MOST = 1000  # training images that are looked at: their shares are known to 3 points then
AT_ONCE = 64
FEW = 0.05  # of the tumours in training; a kind that fewer of them had counts as hardly seen
NEEDED = 0.8  # of the tumours of other sites that must be given the right type, by the interval's lower end


def training_kinds(data: PreparedData, test_probabilities: NDArray[np.float64]) -> TrainingKinds:
    """Sequence, plane and site of the training images of `data`, and what the test split tells of types.

    test_probabilities: (N, C) of the test split, in the order of the index.
    """
    rows = data.rows("train")
    chosen = rows if len(rows) <= MOST else np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    counts: Counter[tuple[str, str, str]] = Counter()
    index = data.index.iloc[chosen]
    for start in range(0, len(index), AT_ONCE):
        part = index.iloc[start : start + AT_ONCE]
        found = looks([prepared_image(data.root / name) for name in part["file_name"]])
        counts.update((look.sequence, look.plane, label) for look, label in zip(found, part["label"], strict=True))
    sites = sorted(set(data.index["site"].iloc[rows]) - {""})
    return TrainingKinds(
        images=len(chosen),
        of=len(rows),
        kinds=[
            KindCount(
                sequence=sequence,
                plane=plane,
                counts={label: counts[sequence, plane, label] for label in data.classes},
            )
            for sequence, plane in sorted({(sequence, plane) for sequence, plane, _ in counts})
        ],
        sites=sites,
        types=type_evidence(data, test_probabilities),
    )


def type_evidence(data: PreparedData, probabilities: NDArray[np.float64]) -> TypeEvidence | None:
    """How often the type is right of tumours of sites that neither training nor validation had, and that were found."""
    types = tumour_types(data.classes)
    known = set(data.index["site"][data.index["split"] != "test"])
    test = data.index.iloc[data.rows("test")]
    names = np.array(data.classes)[probabilities.argmax(axis=1)]
    elsewhere = ~test["site"].isin(known | {""}).to_numpy()
    counted = elsewhere & test["label"].isin(types).to_numpy() & np.isin(names, types)
    if len(types) < 2 or not counted.any():
        return None
    right = (names == test["label"].to_numpy())[counted]
    groups = test["group_id"].to_numpy()[counted]
    interval = group_bootstrap(right, groups.tolist())
    return TypeEvidence(
        sites=sorted(set(test["site"][counted])),
        n=int(counted.sum()),
        groups=len(set(groups)),
        right=float(right.mean()),
        right_ci95=interval,
        needed=NEEDED,
        proven=interval is not None and interval[0] >= NEEDED and test["label"][counted].nunique() > 1,
    )


def tumour_types(classes: Sequence[str]) -> list[str]:
    """The classes that name a type of tumour."""
    without = class_without_tumour(list(classes))
    return [name for name in classes if name != without]


def type_doubtful(
    label: str, classes: Sequence[str], outside: bool | None, site: str, kinds: TrainingKinds | None
) -> bool | None:
    """Whether the type of a tumour that a model names must be doubted; None where it names none, or knows one only.

    The type follows the source of an image. It counts where the image is of a site that the model was trained on, and
    elsewhere if the run's own test split shows that types hold on sites that training lacked.

    Args:
        outside: whether the image is out of distribution. site: where it comes from, "" if that is not known.
    """
    types = tumour_types(classes)
    if len(types) < 2 or label not in types:
        return None
    at_home = kinds is not None and site != "" and site in kinds.sites
    proven = kinds is not None and kinds.types is not None and kinds.types.proven
    return bool(outside) or not (at_home or proven)


def tumours_like(kinds: TrainingKinds, look: Look) -> tuple[int, int] | None:
    """How many tumours in training had the sequence and plane of `look`, and how many were looked at.

    None where neither is known, or training had no tumour. A T1 image whose contrast agent is not known counts as one
    with and as one without.
    """
    if look.sequence == UNKNOWN and look.plane == UNKNOWN:
        return None
    same = {T1: T1_KINDS, T1_CONTRAST: (T1_CONTRAST, T1), T1_PLAIN: (T1_PLAIN, T1)}.get(look.sequence, (look.sequence,))
    every = like = 0
    for kind in kinds.kinds:
        tumours = _tumours(kind)
        every += tumours
        if (look.sequence == UNKNOWN or kind.sequence in same) and look.plane in (UNKNOWN, kind.plane):
            like += tumours
    return (like, every) if every else None


def _tumours(kind: KindCount) -> int:
    return sum(kind.counts[name] for name in tumour_types(list(kind.counts)))


def few_seen(kinds: TrainingKinds | None, look: Look | None) -> bool | None:
    """Whether training had few tumours that looked like this; None where that is not known."""
    found = tumours_like(kinds, look) if kinds and look else None
    return None if found is None else found[0] < FEW * found[1]


# ---------------------------------------------------------------------- in words
def look_sentence(look: Look, kinds: TrainingKinds | None) -> str:
    """What the slice looks like, and how many tumours of this kind were seen in training (nothing without counts)."""
    told = f"{_how(look)}."
    if kinds is None or (found := tumours_like(kinds, look)) is None:
        return told
    like, every = found
    few = "few tumours of this kind were seen in training" if like < FEW * every else "tumours of this kind were seen"
    return f"{told[:-1]}: {few} ({like:,} of {every:,} that were looked at)."


def types_statement(kinds: TrainingKinds) -> str:
    """What is known of the types of tumours on images from elsewhere, for the report and the card of a run."""
    sites = f" Its training images are of the sites {', '.join(kinds.sites)}." if kinds.sites else ""
    if (found := kinds.types) is None:
        return (
            "On images of other sites the type of a tumour is marked as doubtful: the test split has no tumour of a "
            f"site that training lacked, so that nothing shows that types hold there.{sites}"
        )
    measured = (
        f"Of the {found.n:,} tumours of {', '.join(found.sites)}, which training lacked, that were called a tumour "
        f"{with_interval(found.right, found.right_ci95)} were given the right type"
    )
    verdict = "so that types count elsewhere" if found.proven else "so that the type is marked as doubtful elsewhere"
    return f"{measured}, {verdict} (needed: {percent(found.needed)} at the interval's lower end).{sites}"


def kind_rows(kinds: TrainingKinds) -> list[tuple[str, str, int, int, bool]]:
    """Sequence, plane, number of tumours and of other images, and whether the tumours are few: the most first."""
    rows = []
    for kind in kinds.kinds:
        tumours = _tumours(kind)
        few = bool(few_seen(kinds, Look(kind.sequence, kind.plane)))
        rows.append((kind.sequence, kind.plane, tumours, sum(kind.counts.values()) - tumours, few))
    return sorted(rows, key=lambda row: (-row[2], -row[3]))


def doubt_sentence(outside: bool | None, kinds: TrainingKinds | None) -> str:
    """Why the type of a tumour is doubtful."""
    if outside:
        return "The type of tumour is doubtful: the image is unlike those of the training."
    if kinds and kinds.types:
        low, high = kinds.types.right_ci95 or (kinds.types.right, kinds.types.right)
        return (
            "The type of tumour is doubtful: where the image comes from is not known, and of the tumours from sites "
            f"that training lacked {100 * kinds.types.right:.0f} % [{100 * low:.0f}, {100 * high:.0f}] were given the "
            "right type."
        )
    return (
        "The type of tumour is doubtful: where the image comes from is not known, and nothing shows that types hold on "
        "images from elsewhere."
    )


def _how(look: Look) -> str:
    """ "Looks like T2/PD, axial"; what the file says is not said to be an estimate."""
    parts: dict[str, list[str]] = {"picture": [], "file": []}
    for value, source in ((look.sequence, look.sequence_from), (look.plane, look.plane_from)):
        if value != UNKNOWN:
            parts[source].append("no T1, T2/PD or FLAIR" if value == OTHER else value)
    told = [f"By its file {', '.join(parts['file'])}"] if parts["file"] else []
    told += [f"{'looks' if told else 'Looks'} like {', '.join(parts['picture'])}"] if parts["picture"] else []
    return "; ".join(told) or "Neither its sequence nor its plane can be told"
