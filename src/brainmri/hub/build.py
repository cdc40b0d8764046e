"""What is to be published, as trees of files: named by `publish.py`, or the run of `train.py --push_to_hub`."""

from __future__ import annotations

import argparse
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainmri.hub import metric_repository
from brainmri.hub.checks import Publication, PublishError, check, check_licence
from brainmri.hub.space_repository import space_repository
from brainmri.hub.upload import Outcome, deliver, find_owner
from brainmri.schemas import DatasetInfo, find_runs, read_result

PHANTOM = "phantom"  # in place of a folder: the set that brainmri simulates
RESULTS, DEMO, STATIC_DEMO = "brainmri-results", "brainmri-demo", "brainmri-in-the-browser"


def build(arguments: argparse.Namespace, owner: str, out: Path) -> list[Publication]:
    """Write the trees that were asked for: one into `out`, those of `all` into folders of it.

    arguments: of `scripts/publish.py`. out: a folder that is empty, or not there yet.

    Raises:
        PublishError: if `out` holds something, or what is asked for may not or cannot be published.
        ValueError: if a run or a data set cannot be read.
    """
    if out.exists():
        if not out.is_dir() or any(out.iterdir()):
            raise PublishError(f"{out} is not an empty folder")
        out.rmdir()
    kind, name = arguments.kind, (arguments.repo or "").rpartition("/")[2]
    if kind == "model":
        return [_model(arguments.run, owner, name, out, licence=arguments.license, data_id=arguments.data_id)]
    if kind == "dataset":
        return [_dataset(arguments, owner, name, out)]
    if kind == "results":
        return [_results(arguments, owner, name, out)]
    if kind == "space" and arguments.static:
        return [_static_space(arguments.models, owner, name, out)]
    if kind == "space":
        ids = {"models": arguments.models, "datasets": arguments.datasets}
        return [space_repository(arguments.app_dir, f"{owner}/{name or DEMO}", out, **ids)]
    if kind == "metric":
        return [metric_repository.metric_repository(f"{owner}/{name or metric_repository.NAME}", out)]
    if name:
        raise PublishError(f"--repo {arguments.repo}: with `all` give the owner only, as {owner}/")
    return _everything(arguments, owner, out)


def _model(run: Path, owner: str, name: str, out: Path, **how: str | None) -> Publication:
    from brainmri.hub.model_repository import default_name, model_repository  # late, as torch is

    return model_repository(run, f"{owner}/{name or default_name(run)}", out, **how)


def _static_space(models: list[str], owner: str, name: str, out: Path) -> Publication:
    from brainmri.evaluation.load import load_model  # late, as torch is
    from brainmri.hub.static_demo import static_space

    if len(models) != 1:
        raise PublishError("the demo that runs in the browser is of one model: name it with --models RUN or OWNER/NAME")
    return static_space(load_model(models[0]), f"{owner}/{name or STATIC_DEMO}", models[0], out)


def _results(arguments: argparse.Namespace, owner: str, name: str, out: Path) -> Publication:
    from brainmri.hub.results_repository import results_repository

    return results_repository(arguments.runs, f"{owner}/{name or RESULTS}", out)


def _dataset(arguments: argparse.Namespace, owner: str, name: str, out: Path) -> Publication:
    from brainmri.data.dataset import open_prepared
    from brainmri.data.source import prepared_data
    from brainmri.hub.dataset_repository import dataset_repository

    root = Path(arguments.data_dir)
    if arguments.data_dir == PHANTOM and not root.exists():
        root = prepared_data(None, "grouped", insist=False).root
    stated = {key: getattr(arguments, key) for key in ("license", "license_name", "license_link")}
    licence = {key: value for key, value in stated.items() if value}
    repo_id = f"{owner}/{name or _dataset_name(open_prepared(root).info)}"
    return dataset_repository(root, repo_id, out, licence, source_citations=tuple(arguments.cite))


def _dataset_name(info: DatasetInfo) -> str:
    name = f"brainmri-{info.name}" + f"-{info.split}" * (info.split != "grouped")
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _everything(arguments: argparse.Namespace, owner: str, out: Path) -> list[Publication]:
    """The data set, the models of all runs on it and on others, the results, the demo and the metric."""
    from brainmri.hub.model_repository import default_name

    wanted = {"dataset", "results", "space", "metric"} - set(arguments.skip)
    runs = find_runs(arguments.runs)
    names = [default_name(run) for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        which = ", ".join(run.name for run, name in zip(runs, names, strict=True) if name in twice)
        raise PublishError(f"runs that would have one name on the Hub ({which}): give one of them only")
    if "space" in wanted and not (arguments.app_dir / "app.py").is_file():  # before anything takes long
        raise PublishError(f"{arguments.app_dir} has no app.py, so there is no demo to publish: --skip space")
    data = [_dataset(arguments, owner, "", out / "datasets" / "data")] if "dataset" in wanted else []
    of_data = {one.tags[0]: one.repo_id for one in data}
    models = [
        _model(run, owner, name, out / "models" / name, data_id=of_data.get(read_result(run).data.fingerprint))
        for run, name in zip(runs, names, strict=True)
    ]
    found = [*data, *models]
    if "results" in wanted:
        found.append(_results(arguments, owner, "", out / "datasets" / RESULTS))
    if "space" in wanted:
        ids = {"models": [one.repo_id for one in models], "datasets": [one.repo_id for one in data]}
        found.append(space_repository(arguments.app_dir, f"{owner}/{DEMO}", out / "spaces" / DEMO, **ids))
    if "metric" in wanted:
        found.append(
            metric_repository.metric_repository(
                f"{owner}/{metric_repository.NAME}", out / "spaces" / metric_repository.NAME
            )
        )
    return found


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
        find_owner(HfApi(token=self.token), self.repo)

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
