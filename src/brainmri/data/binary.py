"""A data set of several classes as one of two: the classes that count as positive against the rest."""

from __future__ import annotations

from dataclasses import replace

from brainmri.data.dataset import SPLITS, PreparedData, derived_fingerprint

# Labels of pictures without a tumour in the source layouts, without spaces and underscores.
WITHOUT_TUMOR = {"notumor", "notumour", "healthy", "normal", "no"}
NAME_SUFFIX = ", two classes"  # of the name of a data set whose classes were merged


def as_binary(data: PreparedData, positive: list[str] | None) -> PreparedData:
    """`data` with two classes, the negative one first; one that has two already stays as it is.

    positive: the labels to merge; by default all but the one whose name says that there is no tumour. The pictures and
    their splits stay; the fingerprint changes, so that figures on two classes are never mixed with others.

    Raises:
        ValueError: if a label is unknown, none or all are named, or no label says that there is no tumour.
    """
    if positive is None:
        if len(data.classes) == 2:
            return data
        negative = class_without_tumour(data.classes)
        if negative is None:
            raise ValueError(
                f"two classes are needed and the data has {', '.join(data.classes)}: say with --positive which count "
                "as positive"
            )
        positive = [name for name in data.classes if name != negative]
    if unknown := [name for name in positive if name not in data.classes]:
        raise ValueError(f"--positive {' '.join(unknown)}: the classes are {', '.join(data.classes)}")
    chosen = [name for name in data.classes if name in positive]
    rest = [name for name in data.classes if name not in positive]
    if not chosen or not rest:
        raise ValueError(f"--positive: name some of the classes {', '.join(data.classes)}, but not all")
    classes = [" or ".join(rest), " or ".join(chosen)]
    index = data.index.assign(label=data.index["label"].map(lambda name: classes[name in chosen]))
    counts = {
        split: {
            classes[0]: sum(data.info["counts"][split][name] for name in rest),
            classes[1]: sum(data.info["counts"][split][name] for name in chosen),
        }
        for split in SPLITS
    }
    info = data.info | {
        "name": data.info["name"] + NAME_SUFFIX,
        "fingerprint": merged_fingerprint(data.info["fingerprint"], classes),
        "classes": classes,
        "counts": counts,
    }
    return replace(data, index=index, info=info, classes=classes)


def class_without_tumour(classes: list[str]) -> str | None:
    """The one label whose name says that there is no tumour; None if there is not exactly one."""
    found = [name for name in classes if name.lower().replace(" ", "").replace("_", "") in WITHOUT_TUMOR]
    return found[0] if len(found) == 1 else None


def merged_fingerprint(fingerprint: str, classes: list[str]) -> str:
    """The fingerprint of a data set whose labels were merged into `classes`."""
    return derived_fingerprint(fingerprint, str(classes))
