"""The results as a data-set repository: a row for each run, and the leaderboard."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from brainmri.hub.checks import MARK, Publication, PublishError
from brainmri.hub.leak_scan import without_paths
from brainmri.reporting.model_card import OUR_LICENCE, card_templates
from brainmri.runs.compare import COLUMNS, compare_runs, comparison_markdown, read_comparison, write_comparison
from brainmri.runs.table import SEEDS, TEXT, read_runs, read_table
from brainmri.schemas import find_runs

LICENCE = "cc-by-4.0"
CONFIGS = {"runs": "a row for each run", "leaderboard": "seeds of one recipe collapsed, and the baselines"}


def read_results(places: list[Path]) -> pd.DataFrame:
    """A row for each run (the columns of `seeds.csv`): of run folders, or of a folder that holds a `seeds.csv`.

    Raises:
        ValueError: if a place holds neither, or the same run comes twice.
    """
    committed = [place for place in places if (place / "seeds.csv").is_file()]
    folders = [place for place in places if place not in committed]
    tables = [read_table(place / "seeds.csv", SEEDS, TEXT) for place in committed]
    tables += [read_runs(find_runs(folders))] if folders else []
    runs = pd.concat([table[SEEDS] for table in tables], ignore_index=True)
    twice = runs.loc[runs.duplicated(["run", "fingerprint", "split_seed", "fold"]), "run"]
    if len(twice):
        raise PublishError(f"{twice.iloc[0]} stands twice among the runs: give it once")
    return runs


def results_repository(places: list[Path], repo_id: str, folder: Path) -> Publication:
    """Write the tree of the results' repository into the new folder `folder`; see `read_results`."""
    runs = read_results(places)
    runs = runs.map(without_paths)
    (folder / "data").mkdir(parents=True)
    runs.to_parquet(folder / "data" / "runs.parquet", index=False)
    write_comparison(compare_runs(runs), folder / "leaderboard.csv")
    leaderboard = read_comparison(folder / "leaderboard.csv")
    leaderboard[COLUMNS].to_parquet(folder / "data" / "leaderboard.parquet", index=False)
    card = (
        card_templates()
        .get_template("results_card.md.jinja")
        .render(
            metadata=_metadata(),
            repo_id=repo_id,
            configs=CONFIGS,
            runs=len(runs),
            leaderboard=comparison_markdown(leaderboard),
            simulated=bool(runs["simulated"].any()),
            licence=LICENCE,
            code_licence=OUR_LICENCE,
        )
    )
    (folder / "README.md").write_text(card, encoding="utf-8", newline="\n")
    return Publication("dataset", repo_id, folder, f"results of {len(runs)} runs", own_folders=("data",))


def _metadata() -> str:
    from huggingface_hub import DatasetCardData

    return DatasetCardData(
        license=LICENCE,
        pretty_name="brainmri results",
        tags=[MARK, "leaderboard", "benchmark", "medical", "mri", "brain-tumor"],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": f"data/{name}.parquet"}],
                **({"default": True} if name == "runs" else {}),
            }
            for name in CONFIGS
        ],
    ).to_yaml()
