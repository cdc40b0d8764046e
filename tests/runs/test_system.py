"""Which runs are the same system: by their resolved recipes, however their command lines were spelled."""

import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from brainmri.cli.train import parse
from brainmri.models.introspect import resolve
from brainmri.recipe import Recipe, differences, read_recipe, read_recipe_file
from brainmri.runs.compare import compare_runs
from brainmri.runs.manifest import settings_of
from brainmri.runs.table import BESIDE, as_trained, changes_of, read_runs
from brainmri.schemas import DataFacts, RunManifest, RunSettings, write
from brainmri.training.arguments import stage_arguments

from ..conftest import MakeRun


def asked_for(flags: str, arch: str) -> tuple[Recipe, RunSettings]:
    """The recipe before the training, and the settings, of `train.py --arch ARCH FLAGS`."""
    run, given_flags = parse(["--arch", arch, *shlex.split(flags)])
    recipe = resolve(run.arch, run.protocol, run.recipe)
    seed = int(given_flags.get("seed", recipe.seed))
    arguments = [stage_arguments(recipe, stage, given_flags, seed, "runs/x") for stage in recipe.stages]
    return recipe, settings_of(run, recipe, seed, arguments)


def trained_with(flags: str, arch: str = "efficientnet_lite0") -> Recipe:
    """What `recipe.yaml` says after `train.py --arch ARCH FLAGS`."""
    return as_trained(*asked_for(flags, arch))


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ("", ""),
        # How loud, where, how fast and how long does not make another system, nor does a flag that repeats the recipe.
        ("--report_to none --seed 3 --disable_tqdm true --output_dir elsewhere --logging_steps 5", ""),
        ("--max_minutes 20 --overwrite --evaluate_train --bf16 true --dataloader_num_workers 2", ""),
        ("--recipe input.size=160 augmentation.horizontal_flip=0", "augmentation.horizontal_flip=0.0, input.size=160"),
        ("--recipe mix.mixup=0.2", "mix.mixup=0.2"),
        ("--recipe 'mix={mixup: 0.20}' --weight_decay=0.1", "mix.mixup=0.2, training_arguments.weight_decay=0.1"),
        ("--learning-rate 0.01", "stages.0.learning_rate=0.01"),
        ("--recipe stages.0.learning_rate=1e-2", "stages.0.learning_rate=0.01"),
        ("--num_train_epochs 3", "stages.0.epochs=3"),
        ("--num_train_epochs 0.5", "training_arguments.num_train_epochs=0.5"),
        ("--per_device_train_batch_size 8 --gradient_accumulation_steps 2", "batch_size=16"),
        ("--recipe batch_size=16", "batch_size=16"),
        ("--lr_scheduler_type constant", "stages.0.schedule=constant"),
    ],
)
def test_what_was_changed_follows_from_what_was_trained(flags: str, changes: str) -> None:
    if "horizontal_flip" in flags:  # whatever this recipe augments
        name = next(iter(resolve("efficientnet_lite0").augmentation))
        flags, changes = flags.replace("horizontal_flip", name), changes.replace("horizontal_flip", name)
    if "input.size=160" in flags and resolve("efficientnet_lite0").input.size == 160:
        flags, changes = flags.replace("160", "96"), changes.replace("160", "96")
    assert changes_of(trained_with(flags), "efficientnet_lite0", "clean") == changes


def test_a_flag_that_says_what_the_recipe_says_changes_nothing() -> None:
    stage = resolve("cnn_4x4").stages[0]
    flags = f"--learning_rate {stage.learning_rate} --num_train_epochs {stage.epochs}"
    assert changes_of(trained_with(flags, "cnn_4x4"), "cnn_4x4", "clean") == ""


def test_a_recipe_that_this_version_lacks_is_told_by_its_content() -> None:
    recipe = resolve("cnn_4x4")
    found = changes_of(recipe, "of_another_version", "clean")
    assert found.startswith("recipe ")
    assert found == changes_of(recipe.model_copy(update={"title": "another"}), "of_another_version", "clean")
    assert found != changes_of(resolve("cnn_4x4", overrides=["batch_size=7"]), "of_another_version", "clean")


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "input.size": st.sampled_from([64, 96, 128]),
        "batch_size": st.integers(1, 64),
        "stages.0.learning_rate": st.floats(1e-6, 1, allow_nan=False),
        "stages.0.epochs": st.integers(1, 50),
        "stages.0.learning_rate_factors": st.dictionaries(st.sampled_from(["a", "b.0", "c.d"]), st.floats(0, 1)),
        "augmentation.rotation_degrees": st.floats(0, 45),
        "mix": st.one_of(
            st.none(), st.fixed_dictionaries({"mixup": st.floats(0.1, 1), "probability": st.floats(0, 1)})
        ),
        "training_arguments.weight_decay": st.floats(0, 1),
        "domain_randomization": st.booleans(),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["efficientnet_lite0", "cnn_4x4", "hybrid_cnn_vit"]), CHANGES)
def test_what_was_changed_gives_the_recipe_again(name: str, changes: dict[str, object]) -> None:
    """Equal changes, equal recipes, and the other way round: the difference is a change that leads back to it."""
    packaged = read_recipe(name)
    recipe = read_recipe(name, overrides=[f"{key}={yaml.safe_dump(value).strip()}" for key, value in changes.items()])
    found = differences(packaged, recipe)
    back = read_recipe(
        name, overrides=[f"{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in found.items()]
    )
    assert back == recipe
    assert (found == {}) == (recipe == packaged)
    assert not {"title", "source", "published"} & found.keys() and "title" in BESIDE


def test_seeds_of_one_system_are_one_row_and_another_recipe_is_another(make_run: MakeRun) -> None:
    plain = "scripts/train.py --arch resnet50"
    runs = [
        make_run("a", seed=1, command=plain),
        make_run("b", seed=2, command=f"{plain} --report_to none --seed 2"),
        make_run("c", seed=1, command=f"{plain} --recipe mix.mixup=0.2", recipe=["mix.mixup=0.2"]),
        make_run("d", seed=2, command=f"{plain} --recipe mix={{mixup: 0.2}} --seed 2", recipe=["mix={mixup: 0.2}"]),
    ]
    table = compare_runs(read_runs(runs))
    models = table[table["kind"] == "model"]
    assert models[["changes", "seeds"]].values.tolist() == [["", 2], ["mix.mixup=0.2", 2]]


def test_a_run_without_its_recipe_is_refused_by_name(make_run: MakeRun) -> None:
    run = make_run()
    (run / "recipe.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"recipe\.yaml is missing; copy the whole run folder"):
        read_runs([run])


def test_a_recipe_of_version_1_is_read_under_todays_keys(make_run: MakeRun) -> None:
    run = make_run(recipe=["domain_randomization=true", "augmentation.copy_paste=0.2", "stages.0.cached_views=null"])
    content = yaml.safe_load((run / "recipe.yaml").read_text())
    content["neutralize"] = content.pop("domain_randomization")
    content["one_file_per_picture"] = content.pop("duplicate_aware_sampling")
    content["augmentation"]["transplant"] = content["augmentation"].pop("copy_paste")
    for stage in content["stages"]:
        stage["feature_views"] = stage.pop("cached_views")
    expected = read_recipe_file(run / "recipe.yaml")
    (run / "recipe.yaml").write_text(yaml.safe_dump(content))
    assert read_recipe_file(run / "recipe.yaml") == expected
    (run / "recipe.yaml").write_text(yaml.safe_dump(content | {"epochs": 3}))
    with pytest.raises(ValueError, match=r"recipe\.yaml"):
        read_recipe_file(run / "recipe.yaml")


def test_flags_of_a_run_of_version_1_count_too(make_run: MakeRun) -> None:
    """Its recipe.yaml does not hold them; its run.json does."""
    run = make_run()
    recipe, settings = asked_for("--learning_rate 0.01 --report_to none", "resnet50")
    facts = {"contents": "c", "table": "t", "split": "grouped", "split_seed": 42, "classes": [], "counts": {}}
    data = DataFacts.model_validate(facts | {"name": "x"})
    write(RunManifest(created="then", settings=settings, data=data, weights="random"), run / "run.json")
    (run / "uncertainty.json").rename(run / "trust.json")
    expected = ", ".join(f"stages.{k}.learning_rate=0.01" for k in range(len(recipe.stages)))
    assert read_runs([run])["changes"].tolist() == [expected]


def test_the_committed_results_are_still_read(tmp_path: Path) -> None:
    """With their changes as they were written then."""
    from brainmri.runs.table import SEEDS, TEXT, named, read_table

    for file in sorted((Path(__file__).parents[2] / "results").rglob("seeds.csv")):
        shutil.copy(file, tmp_path / "seeds.csv")
        table = read_table(tmp_path / "seeds.csv", SEEDS, TEXT)
        again = named(table.drop(columns="run").assign(folder=""))
        assert sorted(again["changes"]) == sorted(table["changes"])
