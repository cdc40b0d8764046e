"""One card for each recipe: of its run, or one that says that it was not trained."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from brainmri.data.dataset import NAME_SUFFIX
from brainmri.hub.leak_scan import without_paths
from brainmri.hub.model_repository import default_name
from brainmri.models.introspect import resolve
from brainmri.models.weights import imagenet_repository
from brainmri.recipe import read_recipe_file
from brainmri.reporting.card_metadata import tags
from brainmri.reporting.model_card import card_templates, render_card
from brainmri.runs.table import SEEDS, TEXT, changes_of, read_table, split_rank
from brainmri.schemas import RunResult, find_runs, read_result
from brainmri.wording import published_figure


def carded_recipes() -> list[str]:
    """The recipes of the package, sorted."""
    files = (entry.name for entry in (resources.files("brainmri") / "recipes").iterdir())
    names = sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))
    return [name for name in names if name not in ("timm", "hf")]  # which stand for any model of a library


def sources_of(places: list[Path]) -> list[Path]:
    """The files that tell of the runs in `places` (see `write_recipe_cards`): `seeds.csv`, or `result.json` of each."""
    tables = [place / "seeds.csv" for place in places if (place / "seeds.csv").is_file()]
    folders = [place for place in places if place / "seeds.csv" not in tables]
    return tables + [run / "result.json" for run in find_runs(folders)]


def write_recipe_cards(places: list[Path], out: Path, owner: str) -> dict[str, Path | None]:
    """Write `out`/NAME.md for each recipe.

    places: run folders, or folders of them; a folder with a `seeds.csv` tells of runs whose folders are gone. Of
    several runs of a recipe the card is that of the one that says most: clean before published, the recipe as it is
    before a changed one, its own classes before two that were merged, real images, the split that can be trusted most,
    the whole schedule, the lowest seed. No figure decides.

    Returns:
        For each recipe the run of its card, None where there is none.
    """
    runs: dict[str, list[Path]] = {}
    sources = sources_of(places)
    tables = [file for file in sources if file.name == "seeds.csv"]
    measured = {arch for table in tables for arch in read_table(table, SEEDS, TEXT)["recipe"]}
    for folder in (file.parent for file in sources if file not in tables):
        if (folder / "config.json").is_file():  # a pooled cross-validation is no network
            runs.setdefault(read_result(folder).arch, []).append(folder)
    out.mkdir(parents=True, exist_ok=True)
    chosen: dict[str, Path | None] = {}
    for arch in sorted({*carded_recipes(), *runs}):
        chosen[arch] = min(runs[arch], key=_rank) if arch in runs else None
        text = _of_run(run, owner) if (run := chosen[arch]) else _without_run(arch, measured=arch in measured)
        name = arch.replace(":", "-").replace("/", "-")
        (out / f"{name}.md").write_text(text, encoding="utf-8", newline="\n")
    return chosen


def _rank(run: Path) -> tuple[Any, ...]:
    result = read_result(run)
    data = result.data
    recipe = run / "recipe.yaml"
    changed = not recipe.is_file() or bool(changes_of(read_recipe_file(recipe), result.arch, result.protocol))
    fraction = result.training.schedule_fraction or 0
    return (
        result.protocol != "clean",
        changed,
        data.name.endswith(NAME_SUFFIX),
        data.simulated,
        split_rank(data.split, data.leaky),
        -fraction,
        result.seed,
        run.name,
    )


def _of_run(run: Path, owner: str) -> str:
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    files = {"onnx/model.onnx", *(file.name for file in run.glob("uncertainty.*"))}
    result = RunResult.model_validate(without_paths(read_result(run).as_json()))
    return render_card(result, config, repo_id=f"{owner}/{default_name(run)}", files=files)


def _without_run(arch: str, *, measured: bool) -> str:
    from huggingface_hub import ModelCardData

    recipe = resolve(arch, "clean")
    timm = recipe.model.family == "timm"
    metadata = ModelCardData(
        library_name="timm" if timm else "transformers",
        pipeline_tag="image-classification",
        tags=tags(arch, timm=timm),
    )
    return (
        card_templates()
        .get_template("untrained_card.md.jinja")
        .render(
            metadata=metadata.to_yaml(),
            arch=arch,
            measured=measured,
            title=recipe.title or arch,
            source=recipe.source,
            published=published_figure(recipe.published) if recipe.published else None,
            imagenet=imagenet_repository(recipe),
        )
    )
