"""The repository that a tree goes to: whether its name is free or ours, made if need be, as private as was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri.hub.checks import MARK, Publication, PublishError, RepoType, metadata_of
from brainmri.hub.hub_errors import NOT_DONE_HERE, explained, status_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NO_PULL_REQUESTS = (
    "this server has no pull requests: leave out --create-pr, or give --revision BRANCH, which leaves main alone too"
)


@dataclass(frozen=True)
class Place:
    """A repository that may be written to.

    Attributes:
        new: whether it was made for this upload.
        made_public: whether it was private before it.
    """

    new: bool
    made_public: bool = False


def keys(publication: Publication) -> dict[str, Any]:
    """The repository as the client's arguments name it."""
    return {"repo_id": publication.repo_id, "repo_type": publication.repo_type}


def check_name(api: HfApi, repo_type: RepoType, repo_id: str) -> None:
    """Whether something of ours may go there, as the Hub knows it.

    Raises:
        PublishError: if the repository is somebody else's, or the Hub cannot be asked.
    """
    with explained(f"checking {repo_type} {repo_id}"):
        if _info(api, repo_id, repo_type):
            _check_ours(api, repo_id, repo_type)


def make_place(api: HfApi, publication: Publication, public: bool) -> Place:
    """Create the repository, or make sure that it is ours.

    Raises:
        PublishError: if it is somebody else's, or the server does not make it as private, or as public, as was asked.
            A new one that was to be private does not stay.
    """
    place = keys(publication)
    if before := _info(api, **place):
        _check_ours(api, **place)
        if not (public and before.private):
            return Place(new=False)
        api.update_repo_settings(private=False, **place)
        if api.repo_info(**place).private:
            raise PublishError(
                f"{publication.title} is private, and this server leaves it so: make it public on its page, or leave "
                "out --public"
            )
        return Place(new=False, made_public=True)
    sdk = metadata_of(publication.folder / "README.md")["sdk"] if publication.repo_type == "space" else None
    api.create_repo(private=not public, space_sdk=sdk, **place)
    if not public and api.repo_info(**place).private is False:  # some servers do not know "visibility" at creation
        _make_private(api, publication)
    return Place(new=True)


def _make_private(api: HfApi, publication: Publication) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    place = keys(publication)
    try:
        api.update_repo_settings(private=True, **place)
    except HfHubHTTPError as error:
        if status_of(error) not in NOT_DONE_HERE:
            raise
    if api.repo_info(**place).private is False:
        api.delete_repo(**place)
        raise PublishError(
            f"this server makes new repositories public, and {publication.title} was to be private: nothing was "
            "uploaded, and it is gone again. Make a private one of this name on the server's page, or give --public"
        )


def check_pull_requests(api: HfApi, publication: Publication, *, exists: bool) -> None:
    """Whether the server has pull requests. Those that have none take a proposed commit as one of the main branch.

    exists: whether the repository is there; without it a server may say that it is missing.

    Raises:
        PublishError: if not.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        next(api.get_repo_discussions(publication.repo_id, repo_type=publication.repo_type), None)
    except HfHubHTTPError as error:
        if status_of(error) in NOT_DONE_HERE and (exists or status_of(error) != 404):
            raise PublishError(NO_PULL_REQUESTS) from error
        if exists or status_of(error) not in (401, 404):
            raise


def files_there(api: HfApi, repo_id: str, repo_type: str, revision: str | None) -> list[str]:
    """The paths of the repository's files; none in a new one."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return api.list_repo_files(repo_id, revision=revision, repo_type=repo_type)
    except HfHubHTTPError as error:
        if status_of(error) != 404:
            raise
        return []  # without any commit


def _info(api: HfApi, repo_id: str, repo_type: str) -> Any:
    """What the Hub tells of the repository; None where the token sees none.

    (The client's own way to ask whether it exists needs error codes, which not every server gives.)
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return api.repo_info(repo_id, repo_type=repo_type)
    except HfHubHTTPError as error:
        if status_of(error) not in (401, 404):
            raise
        return None


def _check_ours(api: HfApi, repo_id: str, repo_type: str) -> None:
    files = set(files_there(api, repo_id, repo_type, None)) - {".gitattributes"}
    if not files:
        return
    if "README.md" in files:
        card = api.hf_hub_download(repo_id, "README.md", repo_type=repo_type)
        try:
            if MARK in (metadata_of(Path(card)).get("tags") or []):
                return
        except PublishError:
            pass  # a card without metadata is none of ours
    raise PublishError(
        f"the name is taken: {repo_type} {repo_id} holds files that were not published from here; give another --repo"
    )
