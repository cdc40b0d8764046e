"""The class names of a model and of a data set, brought together into the classes that are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainmri.data.class_names import KINDS, OR, SOME_TUMOUR, kind_of_class
from brainmri.data.dataset import plain_name

NONE = "-"  # in the place of a class of the model: images of that class of the data are left out
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
            may stand on either side. "-" in the place of the model's class leaves out the images of the data's.

    Raises:
        ValueError: if a name in `pairs` is unknown or stands there twice, a class of the data is none of the model's
            (the message holds the whole --map line that says which is which, as far as the names tell), too many
            classes of the model match nothing, or one class only is left.
    """
    left_out: set[str] = set()
    for left, right in pairs:
        if left == NONE:
            if not (classes := _named(right, data, whole=True)):
                raise ValueError(
                    f"--map {left}={right}: the data has no class {right}, its classes are {_listed(data)}"
                )
            left_out |= classes
    pairs = [pair for pair in pairs if pair[0] != NONE]
    meant = [_named(name, data) - left_out for name in model]
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
    if (unknown := sum(not classes for classes in meant)) > MOST_UNKNOWN:
        raise ValueError(
            f"{unknown:,} of the model's {len(model):,} classes ({_listed(model)}) are none of the data's: it was not "
            f"made for such images (at most {MOST_UNKNOWN} may be unknown)"
        )
    classes_scored = list(dict.fromkeys(scored_as))
    if len(classes_scored) == 1:
        raise ValueError(f"all classes of the model are scored as {scored_as[0]}: nothing is left to tell apart")
    if strangers := [name for name in data if name not in known and name not in left_out]:
        line = suggested_map(model, data, meant, left_out)
        raise ValueError(
            f"{_listed(strangers)}: no class of the model has this name; its classes are {_listed(model)}. Say which "
            f"is which, with {NONE}=CLASS for images to leave out{line}"
        )
    return ClassMatch(
        classes_scored, list(model), scored_as, {name: merged[name] if name in known else None for name in data}
    )


def suggested_map(model: list[str], data: list[str], meant: list[set[str]], left_out: set[str]) -> str:
    """The --map that brings every class of the data to one of the model as far as the names tell, as ": --map ...".

    meant: the classes of the data that each of the model is known to stand for. It is a suggestion: nobody applies it
    but the user. A class of the data that nothing suits is left out in it.
    """
    known = {name for classes in meant for name in classes}
    pairs = [(left, right) for left, classes in zip(model, meant, strict=True) for right in sorted(classes)]
    pairs = [(left, right) for left, right in pairs if plain_name(left) != plain_name(right) and not OR.search(left)]
    merged: dict[str, list[str]] = {}
    for name in data:
        if name in known or name in left_out:
            continue
        kind = kind_of_class(name)
        same = [one for one in model if kind and kind_of_class(one) == kind]
        if not same and kind == SOME_TUMOUR:
            same = [one for one in model if kind_of_class(one) in KINDS]
        elif not same and kind in KINDS and (whole := [one for one in model if kind_of_class(one) == SOME_TUMOUR]):
            merged.setdefault(whole[0], []).append(name)
            continue
        pairs += [(one, name) for one in same] or [(NONE, name)]
    pairs += [(left, " or ".join(names)) for left, names in merged.items()]
    pairs += [(NONE, name) for name in data if name in left_out]
    once: dict[tuple[str, str], list[str]] = {}  # a class of the model may stand there once only
    for left, right in pairs:
        once.setdefault((left, right if left == NONE else ""), []).append(right)
    pairs = [(left, " or ".join(names)) for (left, _), names in once.items()]
    if all(left == NONE for left, _ in pairs) and not known:
        return f", as in --map {model[0]}={data[0]}{',...' if len(data) > 1 else ''}"
    return f': --map "{",".join(f"{left}={right}" for left, right in pairs)}"'


def _named(text: str, data: list[str], *, whole: bool = False) -> set[str]:
    """The classes of the data that `text` names: itself, or the parts of "a or b" (with `whole`: all of them)."""
    if same := {name for name in data if plain_name(name) == plain_name(text)}:
        return same
    parts = [{name for name in data if plain_name(name) == plain_name(part)} for part in OR.split(text)]
    return set() if whole and not all(parts) else set().union(*parts)


def _outputs(text: str, model: list[str]) -> list[int]:
    return [number for number, name in enumerate(model) if plain_name(name) == plain_name(text)]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
