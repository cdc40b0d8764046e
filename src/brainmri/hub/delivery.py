"""From checked trees to the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from brainmri import __version__
from brainmri.hub.publication import Publication
from brainmri.hub.upload import Outcome, account, check_on_hub, check_owner, upload
from brainmri.training.machine import git_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def find_owner(api: HfApi, repo: str | None) -> str:
    """The owner in `repo` (OWNER/NAME, OWNER/ or NAME), or else the account of the token.

    Raises:
        PublishError: if there is no token that may write there.
    """
    whose = account(api)
    owner = (repo or "").rpartition("/")[0] or str(whose["name"])
    check_owner(owner, whose)
    return owner


def version_tag() -> str:
    """The tag of what this code publishes: version and commit, such as v0.1.0-g0963116."""
    commit = git_commit()
    if commit is None:
        return f"v{__version__}"
    return f"v{__version__}-g{commit[:7]}" + "-changed" * commit.endswith("+changes")


def deliver(api: HfApi, publications: list[Publication], **how: Any) -> Iterator[Outcome]:
    """Ask the Hub about all the trees, which were checked here, then upload one after the other. how: see `upload`.

    Raises:
        PublishError: if the Hub refuses any of them before anything is sent, or later.
    """
    for publication in publications:
        check_on_hub(api, publication)
    message = f"brainmri {__version__}, commit {git_commit() or 'unknown'}"
    for publication in publications:
        yield upload(api, publication, version=version_tag(), message=message, **how)
