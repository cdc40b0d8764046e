"""`train.py --push_to_hub`: the finished run becomes the repository that `publish.py model` makes."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainmri.hub.checks import check, check_licence
from brainmri.hub.upload import Outcome, deliver, find_owner

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
