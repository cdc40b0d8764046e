"""Recipes: strict keys, protocols, overrides, and how they become TrainingArguments."""

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from brainmri.cli.train import PREPARATION, parse
from brainmri.models.introspect import resolve
from brainmri.recipe import recipe_names
from brainmri.runs.table import lacks_weights, split_rank
from brainmri.training.arguments import (
    RunArguments,
    add_run_flags,
    flags_of_transformers,
    spellings,
    stage_arguments,
)
from brainmri.transforms.config import DOMAIN_RANDOMIZATION

SYSTEMS = {  # of the four sources
    "A": ["cnn_six_block", "resnet_small", "resnet50_frozen", "resnet50_partial", "vit_base", "vit_two_stage"],
    "B": ["resnet50", "resnet50_keras", "hybrid_resnet_cnn"],
    "C": ["resnet50_binary", "vgg16_binary", "efficientnet_b0_binary"],
    "D": ["cnn_4x4", "cnn_4to16", "cnn_4to32", "cnn_32to256"],
}
OURS = ["efficientnet_lite0", "efficientnet_lite0_frozen", "efficientnet_lite0_quick", "efficientnet_lite0_record"]
OURS += ["efficientnet_lite1", "efficientnet_lite2", "hybrid_cnn_vit", "vgg16", "vgg16_frozen"]
SPLITS = {"A": "oversample_then_split", "B": "source", "C": "npz", "D": "source_halved"}


def test_every_system_is_a_recipe_under_both_protocols() -> None:
    assert sorted([*OURS, *(name for names in SYSTEMS.values() for name in names)]) == recipe_names()
    for name in recipe_names():
        assert resolve(name).split == "grouped"
    for source, names in SYSTEMS.items():
        for name in names:
            clean, published = resolve(name), resolve(name, "published")
            assert clean.source.startswith(f"{source}:")
            assert clean.published is not None
            assert (published.split, published.oversample) == (SPLITS[source], False)
            assert clean.binary is (source == "C")


def test_the_published_protocol_keeps_each_sources_flaw() -> None:
    assert resolve("vit_base", "published").input.normalize == "unit"
    assert resolve("resnet50_keras", "published").input.normalize == "imagenet_div255"
    assert resolve("efficientnet_b0_binary", "published").input.normalize == "double_scaled"
    assert [stage.freeze for stage in resolve("vit_two_stage", "published").stages] == ["backbone", "backbone"]
    assert [stage.freeze for stage in resolve("vit_two_stage").stages] == ["backbone", "none"]
    assert [bool(stage.early_stopping) for stage in resolve("vit_two_stage").stages] == [False, True]
    assert len(resolve("hybrid_resnet_cnn", "published").stages) == 1


def test_the_recipes_are_packaged_and_resolve_under_their_protocols() -> None:
    assert resolve("cnn_4x4", "published").split == "source_halved"
    assert resolve("resnet50", "published").split == "source"
    six_block = resolve("cnn_six_block", "published")
    assert (six_block.split, six_block.oversample) == ("oversample_then_split", False)
    with pytest.raises(ValueError, match="no published protocol"):
        resolve("efficientnet_lite0", "published")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("colour=red", "colour: there is no such key; known are title"),
        ("stages.0.epoch=3", r"stages\.0\.epoch: there is no such key: did you mean stages\.0\.epochs\?"),
        ("learnin_rate=1", r"learnin_rate: there is no such key: did you mean stages\.0\.learning_rate"),
        ("lr=1", r"did you mean stages\.0\.learning_rate\?"),
        ("input.size=[", "no YAML value"),
        ("stages.0.epochs=many", r"stages\.0\.epochs"),
        ("stages.4.epochs=3", "item number from 0 to 0"),
        ("stages.0=5", r"stages\.0: expected a key of it, such as stages\.0\.epochs=2"),
        ("augmentation.fog=1", "unknown fog; known are horizontal_flip"),
        ("augmentation.horizontal_flip=2", "from 0 to 1"),
        ("input.normalize=tanh", r"input\.normalize"),
        ("model.family=mlp", r"model\.family"),
        ("stages=[]", "stages"),
        ("mix={probability: 0.5}", "give mixup or cutmix an alpha above 0"),
        ("batch_size", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_key_or_value_stops_with_its_name(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve("cnn_4x4", overrides=[override])


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'resnet_51'.*cnn_4x4.*resnet50"):
        resolve("resnet_51")


def test_overrides_reach_nested_keys_and_leave_the_rest() -> None:
    recipe = resolve("cnn_4x4", overrides=["model.arguments.dropout=0", "stages.0.epochs=2", "augmentation={}"])
    assert recipe.model.arguments == {"image_size": 256, "channels": [4] * 4, "hidden_size": 32, "dropout": 0}
    assert (recipe.stages[0].epochs, recipe.stages[0].learning_rate) == (2, 3e-4)
    assert recipe.augmentation["rotation_degrees"] == 10  # {} merges nothing


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(4, [96, 96, 128, 160]), (1, [160]), (2, [96, 160]), (8, [96, 96, 96, 96, 128, 128, 160, 160])],
)
def test_the_last_epoch_has_the_last_size_however_many_there_are(epochs: int, expected: list[int]) -> None:
    stage = resolve("cnn_4x4", overrides=["stages.0.sizes=[96, 96, 128, 160]"]).stages[0]
    assert stage.size_of_each(epochs) == expected
    assert resolve("cnn_4x4").stages[0].size_of_each(epochs) == []


def test_the_command_line_wins_over_the_recipe_and_dashes_equal_underscores() -> None:
    run, given = parse(["--arch", "cnn_4x4", "--data-dir", "d", "--learning-rate", "0.01", "--max_steps", "3"])
    assert (run.arch, run.data_dir, run.protocol) == ("cnn_4x4", "d", "clean")
    assert given == {"learning_rate": 0.01, "max_steps": 3}
    recipe = resolve("cnn_4x4")
    arguments = stage_arguments(recipe, recipe.stages[0], given, seed=1, output_dir="x")
    assert arguments.learning_rate == 0.01
    assert (arguments.num_train_epochs, arguments.per_device_train_batch_size) == (10, 32)
    assert (arguments.weight_decay, arguments.seed) == (0.0, 1)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--learnin_rate", "did you mean --learning_rate?"),
        ("--epochs", "did you mean --num_train_epochs?"),
        ("--lr", "did you mean --learning_rate?"),
        ("--batch_size", "did you mean --per_device_train_batch_size?"),
        ("--output", "did you mean --output_dir?"),
        ("--lr_scheduler", "did you mean --lr_scheduler_type?"),
        ("--model", "did you mean --arch?"),
        ("--split", "brainmri prepare_data SOURCE OUT --split"),
        ("--holdout", "brainmri prepare_data SOURCE OUT --holdout"),
        ("--image_size", "--recipe input.size=N"),
        ("--dataset", "did you mean --data_dir or --dataset_name?"),
        ("--dataset_config_name", "--dataset_name OWNER/NAME[@REVISION]"),
        ("--validation_dir", "brainmri prepare_data SOURCE OUT, then --data_dir OUT"),
        ("--image_column_name", "prepared sets call them image and label"),
        ("--model_revision", "--model_name_or_path OWNER/NAME@REVISION"),
        ("--max_train_samples", "--max_steps N"),
    ],
)
def test_an_unknown_flag_stops_the_run_and_says_what_was_meant(flag: str, meant: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"unknown flag {flag}: ")) as stop:
        parse([flag, "3"])  # before --arch is missed
    assert meant in str(stop.value)


@pytest.mark.parametrize("flag", ["--model_name_or_path", "--model-name-or-path", "--weights"])
def test_the_weights_have_the_name_that_transformers_gives_them(flag: str) -> None:
    run, given = parse(["--arch", "cnn_4x4", flag, "anna/model@v1"])
    assert (run.weights, given) == ("anna/model@v1", {})


def test_a_data_set_of_the_hub_is_named_as_the_hub_names_it() -> None:
    for name in ("anna/phantom", "anna/phantom@v1.0", "hf://datasets/anna/phantom"):
        run, given = parse(["--arch", "cnn_4x4", "--dataset_name", name])
        assert (run.data_dir, run.dataset_name, given) == (
            f"hf://datasets/{name.removeprefix('hf://datasets/')}",
            None,
            {},
        )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--dataset_name", "a/b", "--data_dir", "d"], "--dataset_name a/b and --data_dir d: give one of them"),
        (["--dataset_name", "phantom"], "a repository of the Hub is needed, OWNER/NAME[@REVISION]"),
        (["--dataset_name", "src/brainmri"], "this is a folder or file here: give it to --data_dir"),
    ],
)
def test_what_is_no_data_set_of_the_hub_is_refused(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(["--arch", "cnn_4x4", *words])


def test_help_knows_every_flag_of_the_installed_transformers() -> None:
    from transformers import HfArgumentParser, TrainingArguments

    actions = HfArgumentParser([TrainingArguments])._actions[1:]
    negated = [action for action in actions if action.option_strings[0].startswith("--no_")]
    plain = [action for action in actions if action not in negated]
    read = flags_of_transformers()
    assert {flag.name: flag.help for flag in read} == {action.dest: action.help for action in plain}
    assert {flag.name for flag in read if flag.negatable} == {action.dest for action in negated}
    assert negated  # the rule is not vacuous
    assert all(spellings(action.dest) == action.option_strings for action in plain)


def test_the_runs_own_flags_are_read_as_transformers_reads_a_record() -> None:
    from transformers import HfArgumentParser

    def options(parser: argparse.ArgumentParser) -> dict[str, tuple]:
        shown = (a for a in parser._actions if not a.option_strings[0].startswith("--no_"))  # `--ood false` is enough
        return {a.dest: (a.option_strings, a.nargs, a.const, a.required, a.help) for a in shown}

    ours = argparse.ArgumentParser()
    add_run_flags(ours)
    assert options(ours) == options(HfArgumentParser([RunArguments]))
    words = "--arch a --positive b c --folds 5 --max-minutes 0.5 --overwrite --evaluate_train no --protocol published"
    given = vars(ours.parse_args(words.split()))
    assert given == {
        "arch": "a", "positive": ["b", "c"], "folds": 5, "max_minutes": 0.5,
        "overwrite": True, "evaluate_train": False, "protocol": "published",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--arch", "a", "--protocol", "clan"], "did you mean clean?"),
        (["--arch", "a", "--overwrite", "perhaps"], "'perhaps' is neither true nor false"),
        (["--arch", "a", "--folds", "many"], "'many' is neither a number nor sites"),
        (["--folds", "5"], "the following arguments are required: --arch"),
        (["--arch", "a", "--learnin_rate", "1"], "unknown flag --learnin_rate: did you mean --learning_rate?"),
    ],
)
def test_a_mistake_in_our_own_flags_is_told_without_transformers(
    words: list[str], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = ModuleType("transformers")  # from which nothing can be imported
    empty.__spec__ = find_spec("transformers")
    monkeypatch.setitem(sys.modules, "transformers", empty)
    with pytest.raises(ValueError, match=re.escape(fault)):
        parse(words)


def test_train_knows_the_flags_of_the_data_preparation() -> None:
    text = (Path(__file__).parents[2] / "src/brainmri/cli/prepare_data.py").read_text(encoding="utf-8")
    assert set(re.findall(r'"--([a-z_]+)"', text)) == {*PREPARATION, "overwrite"}


def test_plateau_and_early_stopping_follow_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resolve("cnn_six_block")
    arguments = stage_arguments(recipe, recipe.stages[0], {}, seed=1, output_dir="x")
    assert arguments.lr_scheduler_type == "reduce_lr_on_plateau"
    assert arguments.lr_scheduler_kwargs["patience"] == 4  # acts at the fifth, as Keras' patience of 5 does
    assert arguments.metric_for_best_model == "eval_loss"
    assert arguments.load_best_model_at_end


def test_the_batch_is_the_global_one(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resolve("cnn_4x4")
    monkeypatch.setattr("brainmri.training.arguments.world_size", lambda: 4)
    assert stage_arguments(recipe, recipe.stages[0], {}, 1, "x").per_device_train_batch_size == 8
    halved = stage_arguments(recipe, recipe.stages[0], {"gradient_accumulation_steps": 2}, 1, "x")
    assert halved.per_device_train_batch_size == 4
    monkeypatch.setattr("brainmri.training.arguments.world_size", lambda: 3)
    with pytest.raises(ValueError, match="cannot be shared equally by 3"):
        stage_arguments(recipe, recipe.stages[0], {}, 1, "x")


def test_unknown_training_arguments_of_a_recipe_are_refused() -> None:
    recipe = resolve("cnn_4x4", overrides=["training_arguments.warmup_ratio=0.1"])
    with pytest.raises(ValueError, match="training_arguments has no warmup_ratio"):
        stage_arguments(recipe, recipe.stages[0], {}, 1, "x")


def test_neutralizing_adds_its_widths_and_a_recipes_own_win() -> None:
    plain = resolve("cnn_4to32")
    neutral = resolve("cnn_4to32", overrides=["domain_randomization=true", "augmentation.jpeg=0.5"])
    assert not plain.augmentations().histogram_matching
    assert vars(neutral.augmentations()) == {
        **vars(plain.augmentations()),
        **DOMAIN_RANDOMIZATION,
        **plain.augmentation,
        "jpeg": 0.5,
    }
    with pytest.raises(ValueError, match="histogram_matching, copy_paste, hemisphere_mirroring: images change"):
        resolve("efficientnet_lite0_frozen", overrides=["domain_randomization=true"])


RESULTS = Path(__file__).parents[2] / "results"
RECIPES = Path(__file__).parents[2] / "src" / "brainmri" / "recipes"


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipes_header_tells_its_command_its_figure_and_what_was_measured(name: str) -> None:
    lines = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    header = " ".join(
        line.removeprefix("#").strip() for line in lines[: next(i for i, x in enumerate(lines) if x[0] != "#")]
    )
    assert f"accelerate launch scripts/train.py --arch {name} --data_dir DIR" in header
    published = resolve(name).published
    if published and published.accuracy:
        assert f"{published.accuracy:g}" in header.partition("Published:")[2]
    tables = pd.concat([pd.read_csv(RESULTS / "comparison.csv"), pd.read_csv(RESULTS / "binary" / "comparison.csv")])
    rows = tables[(tables["recipe"] == name) & (tables["protocol"] == "clean") & tables["changes"].isna()]
    rows = rows[~lacks_weights(rows)] if len(rows) else rows
    rows = rows.sort_values("split", key=lambda splits: splits.map(lambda split: split_rank(split, split == "source")))
    measured = [f"{100 * row.accuracy:.1f} % {row.split} ({row.minutes:.0f} min)" for row in rows.itertuples()]
    assert (f"Measured here: {', '.join(measured)}" if measured else "Not trained here") in header
