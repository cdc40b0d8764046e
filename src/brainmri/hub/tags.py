"""The tags of a publication's commit: its own ones move to it, that of the version never moves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from brainmri import __version__
from brainmri.environment import git_commit
from brainmri.hub.checks import Publication
from brainmri.hub.place import keys

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def version_tag() -> str:
    """The tag of what this code publishes: version and commit, such as v0.1.0-g0963116."""
    commit = git_commit()
    if commit is None:
        return f"v{__version__}"
    return f"v{__version__}-g{commit[:7]}" + "-changed" * commit.endswith("+changes")


def same_commit(one: str | None, other: str | None) -> bool:
    """Whether two identifiers are one commit's. Of 64 digits some servers tell 40 here and all of them there."""
    return bool(one and other) and (str(one).startswith(str(other)) or str(other).startswith(str(one)))


def tag_commit(api: HfApi, publication: Publication, commit: str, version: str | None, message: str) -> None:
    """Tag the commit with the publication's own tags and with the version.

    Where the version's tag is an earlier commit's, a number is added to it. The tags are listed before any is made: a
    server need not answer 409 to one that exists.
    """
    place = keys(publication)
    there = {tag.name: tag.target_commit for tag in api.list_repo_refs(**place).tags}
    for name in publication.tags:
        if same_commit(there.get(name), commit):
            continue
        if name in there:
            api.delete_tag(tag=name, **place)
        api.create_tag(tag=name, revision=commit, tag_message=message, **place)
    if version is None:
        return
    of_version = [name for name in there if re.fullmatch(rf"{re.escape(version)}(\.\d+)?", name)]
    if any(same_commit(there[name], commit) for name in of_version):
        return
    number, name = 2, version
    while name in there:
        name, number = f"{version}.{number}", number + 1
    api.create_tag(tag=name, revision=commit, tag_message=message, **place)
