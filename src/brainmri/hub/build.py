"""What is to be published, as trees of files: named by `publish.py`, or the run of `train.py --push_to_hub`."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainmri.hub import metric_repository
from brainmri.hub.checks import Publication, PublishError, RepoType, check, check_licence, check_repo_id
from brainmri.hub.place import check_name
from brainmri.hub.space_repository import check_app, space_repository
from brainmri.hub.upload import Outcome, deliver, find_owner
from brainmri.schemas import DatasetInfo, find_runs, read_result

PHANTOM = "phantom"  # in place of a folder: the set that brainmri simulates
RESULTS, DEMO, STATIC_DEMO = "brainmri-results", "brainmri-demo", "brainmri-in-the-browser"


@dataclass(frozen=True)
class Planned:
    """A repository that is to be written.

    Attributes:
        folder: where, below the folder of all of them; "." of a single one.
        write: writes the tree into a new folder, which may take minutes.
    """

    repo_type: RepoType
    repo_id: str
    write: Callable[[Path], Publication]
    folder: str = "."


def plan(arguments: argparse.Namespace, owner: str) -> list[Planned]:
    """What is to be published, and under which names, before anything takes long.

    arguments: of `scripts/publish.py`.

    Raises:
        PublishError: if what is asked for may not or cannot be published.
        ValueError: if a run or a data set cannot be read.
    """
    kind, name = arguments.kind, (arguments.repo or "").rpartition("/")[2]
    if kind == "model":
        planned = [_model([arguments.run], owner, name, licence=arguments.license, data_id=arguments.data_id)]
    elif kind == "dataset":
        planned = [_dataset(arguments, owner, name)[0]]
    elif kind == "results":
        planned = [_results(arguments, owner, name)]
    elif kind == "space" and arguments.static:
        planned = [_static_space(arguments, owner, name)]
    elif kind == "space":
        if arguments.data:
            raise PublishError("--data is for --static: the demo on a server runs its models as they are")
        planned = [_space(arguments, owner, name, arguments.models, arguments.datasets)]
    elif kind == "metric":
        planned = [_metric(owner, name)]
    elif name:
        raise PublishError(f"--repo {arguments.repo}: with `all` give the owner only, as {owner}/")
    else:
        planned = _everything(arguments, owner)
    for one in planned:
        check_repo_id(one.repo_id)
    return planned


def build(planned: list[Planned], out: Path) -> list[Publication]:
    """Write the trees: one into `out`, those of `all` into folders of it.

    out: a folder that is empty, or not there yet.

    Raises:
        PublishError: if `out` holds something, or what is asked for may not or cannot be published.
        ValueError: if a run or a data set cannot be read.
    """
    check_empty(out)
    if out.exists():
        out.rmdir()
    return [one.write(out / one.folder) for one in planned]


def check_empty(out: Path) -> None:
    """Raises PublishError if there is something where the trees are to be."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PublishError(f"{out} is not an empty folder")


def _model(seeds: list[Path], owner: str, name: str, folder: str = ".", **how: str | None) -> Planned:
    from brainmri.hub.model_repository import default_name, model_repository  # late, as torch is

    run, *others = seeds
    repo_id = f"{owner}/{name or default_name(run)}"
    return Planned("model", repo_id, lambda out: model_repository(run, repo_id, out, seeds=others, **how), folder)


def _static_space(arguments: argparse.Namespace, owner: str, name: str) -> Planned:
    from brainmri.data.dataset import open_prepared
    from brainmri.evaluation.load import load_model  # late, as torch is
    from brainmri.hub.static_demo import static_space

    if len(arguments.models) != 1:
        raise PublishError("the demo that runs in the browser is of one model: name it with --models RUN or OWNER/NAME")
    (place,) = arguments.models
    repo_id = f"{owner}/{name or STATIC_DEMO}"
    data = open_prepared(arguments.data) if arguments.data else None
    return Planned("space", repo_id, lambda out: static_space(load_model(place), repo_id, place, out, data))


def _results(arguments: argparse.Namespace, owner: str, name: str, folder: str = ".") -> Planned:
    from brainmri.hub.results_repository import results_repository

    repo_id = f"{owner}/{name or RESULTS}"
    return Planned("dataset", repo_id, lambda out: results_repository(arguments.runs, repo_id, out), folder)


def _space(
    arguments: argparse.Namespace, owner: str, name: str, models: list[str], datasets: list[str], folder: str = "."
) -> Planned:
    check_app(arguments.app_dir, models)
    repo_id, ids = f"{owner}/{name or DEMO}", {"models": models, "datasets": datasets}
    return Planned("space", repo_id, lambda out: space_repository(arguments.app_dir, repo_id, out, **ids), folder)


def _metric(owner: str, name: str, folder: str = ".") -> Planned:
    repo_id = f"{owner}/{name or metric_repository.NAME}"
    return Planned("space", repo_id, lambda out: metric_repository.metric_repository(repo_id, out), folder)


def _dataset(arguments: argparse.Namespace, owner: str, name: str, folder: str = ".") -> tuple[Planned, DatasetInfo]:
    from brainmri.data.dataset import open_prepared
    from brainmri.data.source import prepared_data
    from brainmri.hub.dataset_repository import dataset_repository

    root = Path(arguments.data_dir)
    if arguments.data_dir == PHANTOM and not root.exists():
        root = prepared_data(None, "grouped", insist=False).root
    stated = {key: getattr(arguments, key) for key in ("license", "license_name", "license_link")}
    licence = {key: value for key, value in stated.items() if value}
    info = open_prepared(root).info
    repo_id, cited = f"{owner}/{name or _dataset_name(info)}", tuple(arguments.cite)
    planned = Planned(
        "dataset",
        repo_id,
        lambda out: dataset_repository(root, repo_id, out, licence, source_citations=cited),
        folder,
    )
    return planned, info


def _dataset_name(info: DatasetInfo) -> str:
    name = f"brainmri-{info.name}" + f"-{info.split}" * (info.split != "grouped")
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _everything(arguments: argparse.Namespace, owner: str) -> list[Planned]:
    """The data set, a model for the runs of each recipe on it and on others, the results, the demo and the metric."""
    wanted = {"dataset", "results", "space", "metric"} - set(arguments.skip)
    planned, of_data = [], {}
    models = by_repository(find_runs(arguments.runs))
    if "dataset" in wanted:
        data, info = _dataset(arguments, owner, "", "datasets/data")
        planned.append(data)
        of_data[info.fingerprint] = data.repo_id
    for name, seeds in models.items():
        data_id = of_data.get(read_result(seeds[0]).data.fingerprint)
        planned.append(_model(seeds, owner, name, f"models/{name}", data_id=data_id))
    if "results" in wanted:
        planned.append(_results(arguments, owner, "", f"datasets/{RESULTS}"))
    if "space" in wanted:
        shown = [f"{owner}/{name}" for name in sorted(models, key=lambda name: evidence(models[name]), reverse=True)]
        planned.append(_space(arguments, owner, "", shown, list(of_data.values()), f"spaces/{DEMO}"))
    if "metric" in wanted:
        planned.append(_metric(owner, "", f"spaces/{metric_repository.NAME}"))
    return planned


def by_repository(runs: list[Path]) -> dict[str, list[Path]]:
    """The runs by the name of the repository that they go to: seeds of one recipe are one model's, lowest seed first.

    The network of the lowest seed is the one that is published: no figure chooses it.

    Raises:
        PublishError: if runs of one name differ in more than their seed.
    """
    from brainmri.hub.model_repository import default_name
    from brainmri.runs.table import SYSTEM, TEST_SPLIT, read_runs

    named: dict[str, list[Path]] = {}
    for run in runs:
        named.setdefault(default_name(run), []).append(run)
    for name, same in named.items():
        if len(same) > 1 and len(read_runs(same).drop_duplicates([*SYSTEM, *TEST_SPLIT])) > 1:
            which = ", ".join(run.name for run in same)
            raise PublishError(
                f"runs that would have one name on the Hub, {name}, and differ in more than their seed ({which}): give "
                "those of one system, and publish the others one by one under another --repo"
            )
        named[name] = sorted(same, key=lambda run: read_result(run).seed)
    return named


def evidence(seeds: list[Path]) -> tuple[bool, int, bool, float]:
    """What a model's measurement is worth, to order models by: real before simulated images, the split that can
    be trusted most, the clean before the published protocol, then the mean accuracy of its seeds on the test split.
    """
    from brainmri.runs.table import split_rank

    results = [read_result(run) for run in seeds]
    first = results[0]
    accuracies = [result.test.accuracy if result.test else 0.0 for result in results]
    mean = sum(accuracies) / len(accuracies)
    return not first.data.simulated, -split_rank(first.data.split, first.data.leaky), first.protocol == "clean", mean


FLAGS = ("hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision")


@dataclass(frozen=True)
class Push:
    """Where a run goes when it is finished; of TrainingArguments' flags, private unless one of them says otherwise."""

    repo: str | None
    token: str | None
    public: bool
    revision: str | None
    licence: str | None

    def check(self) -> None:
        """Before the training: is there a token with the right to write, and what publishing needs?

        Raises:
            PublishError: if not.
        """
        from huggingface_hub import HfApi

        if self.licence:
            check_licence(self.licence, "the network")
        api = HfApi(token=self.token)
        owner, name = find_owner(api, self.repo), (self.repo or "").rpartition("/")[2]
        if name:
            check_repo_id(f"{owner}/{name}")
            check_name(api, "model", f"{owner}/{name}")

    def publish(self, run_dir: Path) -> Outcome:
        """Publish a finished run.

        Raises:
            PublishError: see `model_repository` and `deliver`.
        """
        from huggingface_hub import HfApi

        from brainmri.hub.model_repository import default_name, model_repository  # late, as torch is

        api = HfApi(token=self.token)
        with tempfile.TemporaryDirectory() as scratch:
            name = (self.repo or "").rpartition("/")[2] or default_name(run_dir)
            repo_id = f"{find_owner(api, self.repo)}/{name}"
            publication = model_repository(run_dir, repo_id, Path(scratch) / "model", licence=self.licence)
            check(publication)
            return next(deliver(api, [publication], public=self.public, revision=self.revision))


def take_push(given: dict[str, Any], licence: str | None, *, folds: bool) -> Push | None:
    """Take the flags of --push_to_hub out of `given`, so that the Trainer itself uploads nothing; None without it.

    Raises:
        ValueError: for flags that do not go together.
    """
    flags = {name: given.pop(name) for name in FLAGS if name in given}
    if not given.pop("push_to_hub", False):
        return None
    if flags.get("hub_strategy", "end") != "end":
        raise ValueError("--hub_strategy: a run is published once, at its end (checkpoints stay here): leave it out")
    if folds:
        raise ValueError("--push_to_hub publishes one network: train without --folds, or publish the folds one by one")
    return Push(
        flags.get("hub_model_id"),
        flags.get("hub_token"),
        flags.get("hub_private_repo") is False,
        flags.get("hub_revision"),
        licence,
    )
