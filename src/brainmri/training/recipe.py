"""A recipe: everything that defines a system, read from one YAML file with strict keys.

A recipe describes the `clean` protocol; its `protocols.published` says what its source did otherwise. `resolve` gives
the recipe that a run follows, and the run stores it as `recipe.yaml`.
"""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from brainmri.data.augmentation import Augmentation
from brainmri.models.preprocessing import Normalization

Protocol = Literal["clean", "published"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(Strict):
    """The figure that the source states, with the data and split it was measured on."""

    accuracy: float | None = Field(ge=0, le=1)
    data: str
    split: str
    minutes: PositiveFloat | None = None
    note: str = ""


class Architecture(Strict):
    """`family`: one of the project's own networks, or `timm`. `arguments`: for its configuration.

    For `timm`, `arguments.architecture` is timm's name of the model, and `arguments.pretrained` the repository of its
    weights on the Hub.
    """

    family: Literal["plain_cnn", "six_block_cnn", "small_resnet", "timm"]
    arguments: dict[str, Any] = {}


class Input(Strict):
    """`size`: side of the square input in pixels. `normalize`: a formula of `brainmri.models.preprocessing`."""

    size: PositiveInt
    normalize: Normalization


class EarlyStopping(Strict):
    """Stop after `patience` validations without an improvement of more than `min_delta`."""

    patience: PositiveInt
    min_delta: float = Field(default=0.0, ge=0)


class Plateau(Strict):
    """Multiply the learning rate by `factor` after `patience` validations without improvement, as Keras counts them."""

    factor: float = Field(gt=0, lt=1)
    patience: PositiveInt
    min_learning_rate: float = Field(default=0.0, ge=0)


class Stage(Strict):
    """One training with its own epochs and learning rate; its best weights (`keep`) go into the next stage.

    freeze: `backbone` trains the classifier only, with every frozen batch norm in inference mode.
    monitor: the validation figure by which early stopping, plateau and the kept checkpoint are decided.
    warmup: share of the steps in which the learning rate rises from 0.
    """

    epochs: PositiveInt
    learning_rate: PositiveFloat
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    plateau: Plateau | None = None
    early_stopping: EarlyStopping | None = None
    monitor: Literal["loss", "accuracy"] = "loss"
    keep: Literal["best", "last"] = "best"
    freeze: Literal["none", "backbone"] = "none"


class Recipe(Strict):
    """batch_size: over all processes. split: of `scripts/prepare_data.py`, used when a raw folder is given.

    training_arguments: further fields of `transformers.TrainingArguments` (weight decay, clipping, ...).
    """

    title: str
    source: str
    published: Published | None = None
    model: Architecture
    input: Input
    split: Literal["grouped", "source", "source_halved", "oversample_then_split", "npz"] = "grouped"
    oversample: bool = False
    augmentation: dict[str, float] = {}
    batch_size: PositiveInt = 32
    seed: NonNegativeInt = 42
    training_arguments: dict[str, Any] = {}
    stages: Annotated[list[Stage], Field(min_length=1)]

    def augmentations(self) -> Augmentation:
        """The widths of the random transformations; ValueError for an unknown name or an impossible width."""
        try:
            return Augmentation(**self.augmentation)
        except TypeError:
            known = ", ".join(Augmentation.__dataclass_fields__)
            unknown = ", ".join(sorted(set(self.augmentation) - set(Augmentation.__dataclass_fields__)))
            raise ValueError(f"augmentation: unknown {unknown}; known are {known}") from None

    @property
    def epochs(self) -> int:
        """Epochs of the full schedule, over all stages."""
        return sum(stage.epochs for stage in self.stages)


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted: what `--arch` accepts."""
    folder = resources.files("brainmri") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def resolve(name: str, protocol: Protocol = "clean", overrides: list[str] | None = None) -> Recipe:
    """Read the recipe `name`, apply the protocol's changes and then `overrides` ("model.arguments.dropout=0").

    Raises:
        ValueError: for an unknown recipe, an unknown key at any depth, or a value of the wrong kind; the message names
            the key.
    """
    if name not in recipe_names():
        raise ValueError(f"unknown recipe {name!r}: --arch takes one of {', '.join(recipe_names())}")
    text = (resources.files("brainmri") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    changes = content.pop("protocols", {})
    if unknown := set(changes) - {"published"}:
        raise ValueError(
            f"recipe {name}: unknown protocol {', '.join(sorted(unknown))} (only `published` is described)"
        )
    if protocol == "published":
        if "published" not in changes:
            raise ValueError(f"recipe {name} has no published protocol: it is not the reproduction of a source")
        content = _merged(content, changes["published"])
    for override in overrides or []:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise ValueError(f"--recipe {override!r}: expected KEY=VALUE, such as model.arguments.dropout=0")
        change: Any = yaml.safe_load(value)
        for part in reversed(key.split(".")):
            change = {part: change}
        content = _merged(content, change)
    try:
        recipe = Recipe.model_validate(content)
        recipe.augmentations()
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"recipe {name}: {problems}") from None
    return recipe


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it: mappings are merged, everything else (lists too) is replaced.

    A numeric key changes one item of a list: `stages.0.epochs=2`.
    """
    merged = dict(base)
    for key, value in changes.items():
        before = merged.get(key)
        if isinstance(before, list) and isinstance(value, dict):
            items = list(before)
            for position, change in value.items():
                if not str(position).isdigit() or int(position) >= len(items):
                    raise ValueError(f"{key}.{position}: expected an item number from 0 to {len(items) - 1}")
                items[int(position)] = _merged(items[int(position)], change)
            merged[key] = items
        else:
            merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
