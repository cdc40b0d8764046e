"""The class names of a model and of a data set, brought together into the classes that are scored."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OR = re.compile(r"(?:\s+|_|-)or(?:\s+|_|-)", re.IGNORECASE)  # merged classes are called "a or b", see data/binary.py
MOST_UNKNOWN = 20  # classes of a model that the data does not have; one with ImageNet's 1,000 has nothing to say here


@dataclass(frozen=True)
class ClassMatch:
    """Every class of the model, and every class of the data that the model knows, as one of the scored classes.

    classes: the scored classes in the model's order. model_classes and scored_as: of each output of the model its own
    name and the scored class that its probability counts for. data_classes: the scored class of each class of the data,
    None where the model does not know it.
    """

    classes: list[str]
    model_classes: list[str]
    scored_as: list[str]
    data_classes: dict[str, str | None]

    def scored(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (N, model's classes) summed to (N, scored classes)."""
        columns = [[name == scored for name in self.scored_as] for scored in self.classes]
        return probabilities @ np.array(columns, dtype=np.float64).T

    @property
    def unknown_to_model(self) -> list[str]:
        """Classes of the data whose images cannot be scored."""
        return [name for name, scored in self.data_classes.items() if scored is None]

    @property
    def unknown_to_data(self) -> list[str]:
        """Classes of the model, by their own names, that are none of the data's."""
        known = set(self.data_classes.values())
        pairs = zip(self.model_classes, self.scored_as, strict=True)
        return [name for name, scored in pairs if scored not in known]

    @property
    def renamed(self) -> list[str]:
        """A line for each class whose name changed: "no_tumor (model) is scored as notumor"."""
        model = [(f"{name} (model)", new) for name, new in zip(self.model_classes, self.scored_as, strict=True)]
        data = [(f"{name} (data)", new) for name, new in self.data_classes.items()]
        return [f"{old} is scored as {new}" for old, new in model + data if new and old.rpartition(" (")[0] != new]


def read_map(text: str) -> list[tuple[str, str]]:
    """Pairs of names from "no_tumor=notumor,glioma_tumor=glioma".

    Raises:
        ValueError: for a part that is no pair.
    """
    pairs = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        left, equals, right = (piece.strip() for piece in part.partition("="))
        if not (left and equals and right) or "=" in right:
            raise ValueError(f"--map {part}: expected MODEL_CLASS=DATA_CLASS, several of them with commas between")
        pairs.append((left, right))
    return pairs


def match_classes(model: list[str], data: list[str], pairs: list[tuple[str, str]]) -> ClassMatch:
    """Match the classes of a model with those of a data set.

    Names match whatever their case, spaces, `_` and `-` are. A class called "a or b" stands for the classes a and b,
    which then become one. Several classes of the model that match the same class of the data are added up. A class of
    the model that no class of the data matches is scored under its own name.

    Args:
        model: the names of the model's outputs. data: those of the data set.
        pairs: (class of the model, class of the data), which win over the names. A merged class of the data, "a or b",
            may stand on either side.

    Raises:
        ValueError: if a name in `pairs` is unknown or stands there twice, nothing matches, too many classes of the
            model match nothing, or one class only is left.
    """
    meant = [_named(name, data) for name in model]
    given: set[int] = set()
    for left, right in pairs:
        outputs, label = _outputs(left, model), right
        if not outputs and _outputs(right, model) and _named(left, data, whole=True):
            outputs, label = _outputs(right, model), left
        if not outputs:
            raise ValueError(f"--map {left}={right}: the model has no class {left}, its classes are {_listed(model)}")
        if given & set(outputs):
            raise ValueError(f"--map names {_listed([model[k] for k in outputs])} of the model more than once")
        classes = _named(label, data, whole=True)
        if not classes:
            raise ValueError(f"--map {left}={right}: the data has no class {label}, its classes are {_listed(data)}")
        given.update(outputs)
        for output in outputs:
            meant[output] = classes

    # Classes of the data that one output of the model stands for become one, and so on along overlaps.
    parts = [{name} for name in data]
    for classes in filter(None, meant):
        apart = [part for part in parts if not part & classes]
        parts = [*apart, set().union(*(part for part in parts if part & classes))]
    merged = {name: " or ".join(n for n in data if n in part) for part in parts for name in part}

    scored_as = [merged[min(classes)] if classes else name for name, classes in zip(model, meant, strict=True)]
    known = {name for classes in meant for name in classes}
    if not known:
        raise ValueError(
            f"no class of the model ({_listed(model)}) is called as one of the data ({_listed(data)}): say with "
            f"--map {model[0]}={data[0]},... which is which"
        )
    if (unknown := sum(not classes for classes in meant)) > MOST_UNKNOWN:
        raise ValueError(
            f"{unknown:,} of the model's {len(model):,} classes ({_listed(model)}) are none of the data's: it was not "
            f"made for such images (at most {MOST_UNKNOWN} may be unknown)"
        )
    classes_scored = list(dict.fromkeys(scored_as))
    if len(classes_scored) == 1:
        raise ValueError(f"all classes of the model are scored as {scored_as[0]}: nothing is left to tell apart")
    return ClassMatch(
        classes_scored, list(model), scored_as, {name: merged[name] if name in known else None for name in data}
    )


def _named(text: str, data: list[str], *, whole: bool = False) -> set[str]:
    """The classes of the data that `text` names: itself, or the parts of "a or b" (with `whole`: all of them)."""
    if same := {name for name in data if _plain(name) == _plain(text)}:
        return same
    parts = [{name for name in data if _plain(name) == _plain(part)} for part in OR.split(text)]
    return set() if whole and not all(parts) else set().union(*parts)


def _outputs(text: str, model: list[str]) -> list[int]:
    return [number for number, name in enumerate(model) if _plain(name) == _plain(text)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
