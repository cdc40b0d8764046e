"""Bringing a tree to the Hub: what is there already stays, an interrupted upload goes on, and errors say what to do.

`deliver` brings checked trees there, and `bind` puts them into one collection.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri import __version__
from brainmri.environment import git_commit
from brainmri.hub.checks import MARK, Publication, PublishError, metadata_of
from brainmri.hub.lineage import pin_data

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PUBLIC_HUB = "https://huggingface.co"
QUOTA = re.compile(r"quota|storage limit|storage space", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """What an upload did.

    Attributes:
        commit: the head afterwards (None: the server does not tell).
        changed: whether a commit was made; without one the repository held the tree already.
    """

    url: str
    commit: str | None
    changed: bool
    pull_request: str | None = None

    @property
    def summary(self) -> str:
        """What happened, in words."""
        return f"uploaded, now at {self.commit}" if self.changed else f"nothing new, it is at {self.commit}"


def use_plain_uploads() -> None:
    """Off the public Hub, upload by LFS, which every server speaks, unless HF_HUB_DISABLE_XET says otherwise.

    The client takes Xet wherever hf_xet is installed, and fails where the server has none. To be called before any
    Hugging Face library is imported.
    """
    if os.environ.get("HF_ENDPOINT", PUBLIC_HUB).rstrip("/") != PUBLIC_HUB:
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")


def account(api: HfApi) -> dict[str, Any]:
    """Who the token belongs to: name, and the organisations.

    Raises:
        PublishError: if there is no token, a wrong one, or one that may only read.
    """
    from huggingface_hub.errors import LocalTokenNotFoundError

    with explained("asking whose token this is"):
        try:
            found = dict(api.whoami())
        except LocalTokenNotFoundError as error:
            raise PublishError(
                "no token: run `hf auth login`, or set HF_TOKEN to a token with the right to write "
                "(huggingface.co/settings/tokens)"
            ) from error
    if ((found.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise PublishError("this token may only read: make one that may write (huggingface.co/settings/tokens)")
    return found


def check_owner(owner: str, whose: dict[str, Any]) -> None:
    """Raises PublishError if the account `whose` can publish nothing under `owner`."""
    own = [whose["name"], *(organisation.get("name") for organisation in whose.get("orgs") or [])]
    if owner not in own:
        raise PublishError(f"no right: the token of {whose['name']} cannot write to {owner} (only to {', '.join(own)})")


def check_on_hub(api: HfApi, publication: Publication) -> None:
    """What only the Hub can tell before anything is sent: whether the name is free or ours, and the card valid.

    Raises:
        PublishError: if the repository is somebody else's, or the Hub refuses the card's metadata.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    card = (publication.folder / "README.md").read_text(encoding="utf-8")
    with explained(f"checking {publication.title}"):
        if _exists(api, publication):
            _check_ours(api, publication)
        answer = get_session().post(  # RepoCard.validate asks without the token
            f"{api.endpoint}/api/validate-yaml",
            json={"content": card, "repoType": publication.repo_type},
            headers=build_hf_headers(token=api.token),
        )
        if answer.status_code == 400:
            raise PublishError(f"{publication.title}: the Hub refuses the metadata of README.md: {answer.text}")
        hf_raise_for_status(answer)


def upload(
    api: HfApi,
    publication: Publication,
    *,
    public: bool,
    revision: str | None = None,
    create_pr: bool = False,
    version: str | None = None,
    message: str = "",
) -> Outcome:
    """Make the repository hold the tree, in one commit; what it holds already the client leaves out.

    (`upload_folder` would make several commits of a large folder, so that half of a data set could be seen.)

    Args:
        public: a new repository is private without it; an existing one becomes public with it.
        revision: a branch, made if need be; without, the main one.
        create_pr: propose the commit instead. version: a tag for the commit. message: the tag's.

    Raises:
        PublishError: if the Hub cannot be reached or refuses. What it has received is not sent again next time.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    place: dict[str, Any] = {"repo_id": publication.repo_id, "repo_type": publication.repo_type}
    with explained(f"publishing {publication.title}"):
        _make_room(api, publication, public)
        if revision:
            api.create_branch(branch=revision, exist_ok=True, **place)
        own = tuple(f"{folder}/" for folder in publication.own_folders)
        files = set(publication.files)
        gone = [n for n in _files_there(api, publication, revision) if n.startswith(own) and n not in files]
        head = api.repo_info(revision=revision, **place).sha
        logging.getLogger("huggingface_hub.hf_api").addFilter(_not_said_twice)
        done = api.create_commit(
            operations=[
                *(CommitOperationDelete(path_in_repo=name) for name in gone),
                *(CommitOperationAdd(path_in_repo=n, path_or_fileobj=publication.folder / n) for n in sorted(files)),
            ],
            commit_message=f"brainmri: {publication.what}",
            revision=revision,
            create_pr=create_pr,
            **place,
        )
        changed = done.oid != head
        if not create_pr:
            _tag(api, publication, done.oid or revision, version, message, changed=changed)
    return Outcome(_url(api, publication), done.oid, changed, done.pr_url)


def _not_said_twice(record: logging.LogRecord) -> bool:
    """Leaves out what the client says of an upload without changes, which `Outcome.summary` says too."""
    return "Skipping to prevent empty commit" not in record.getMessage()


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the client raises into one sentence for the user.

    Raises:
        PublishError: in place of any error of HTTP, of the network, or of the server's word on a file.
    """
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except PublishError:
        raise
    except KeyError as error:  # the client takes this from the answer without a look
        raise PublishError(
            f"the server's answer lacks {error}, so it does not do all that was asked for ({doing}): it may know no "
            "pull requests, and have changed the repository itself"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise PublishError(f"{_reason(error)} ({doing})") from error


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HTTPError):
        cause = cause.__cause__
    error = cause or error
    said = " ".join(str(error).split())
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in (402, 413, 507) or (status in (None, 403) and QUOTA.search(said)):
        return f"no room: the Hub refuses more of this account's storage or of this size; it says: {said}"
    if status == 401:
        return f"wrong token: the Hub does not know it (huggingface.co/settings/tokens); it says: {said}"
    if status == 403:
        return f"no right: this token may not do that; it says: {said}"
    if status == 409:
        return f"the name is taken, or another upload is at work; it says: {said}"
    if status == 412:
        return f"the repository changed meanwhile: run the same command again; it says: {said}"
    if status == 429:
        return f"too many requests: wait, and run the same command again; it says: {said}"
    if status is None and isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return f"the Hub cannot be reached, or the network broke down: run the same command again, it goes on; {said}"
    if status is not None and status >= 500:
        return f"the Hub failed ({status}): run the same command again, it goes on; it says: {said}"
    return said


def _url(api: HfApi, publication: Publication) -> str:
    prefix = "" if publication.repo_type == "model" else f"{publication.repo_type}s/"
    return f"{api.endpoint}/{prefix}{publication.repo_id}"


def _exists(api: HfApi, publication: Publication) -> bool:
    """Whether the token sees the repository. (The client's own way needs error codes, which not every server gives.)"""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.repo_info(publication.repo_id, repo_type=publication.repo_type)
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 404):
            raise
        return False
    return True


def _make_room(api: HfApi, publication: Publication, public: bool) -> None:
    """Create the repository, or make sure that it is ours."""
    place: dict[str, Any] = {"repo_id": publication.repo_id, "repo_type": publication.repo_type}
    if _exists(api, publication):
        _check_ours(api, publication)
        if public and api.repo_info(**place).private:
            api.update_repo_settings(private=False, **place)
        return
    sdk = metadata_of(publication.folder / "README.md")["sdk"] if publication.repo_type == "space" else None
    api.create_repo(private=not public, space_sdk=sdk, **place)


def _check_ours(api: HfApi, publication: Publication) -> None:
    files = set(_files_there(api, publication, None)) - {".gitattributes"}
    if not files:
        return
    if "README.md" in files:
        card = api.hf_hub_download(publication.repo_id, "README.md", repo_type=publication.repo_type)
        try:
            if MARK in (metadata_of(Path(card)).get("tags") or []):
                return
        except PublishError:
            pass  # a card without metadata is none of ours
    raise PublishError(
        f"the name is taken: {publication.title} holds files that were not published from here; give another --repo"
    )


def _files_there(api: HfApi, publication: Publication, revision: str | None) -> list[str]:
    """The paths of the repository's files; none in a new one."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return api.list_repo_files(publication.repo_id, revision=revision, repo_type=publication.repo_type)
    except HfHubHTTPError as error:
        if error.response.status_code != 404:
            raise
        return []  # without any commit


def _tag(
    api: HfApi, publication: Publication, commit: str | None, version: str | None, message: str, *, changed: bool
) -> None:
    """Tag the commit: with the publication's own tags, which move to it, and with the version, which never moves.

    Where the version's tag is an earlier commit's, a number is added to it.
    """
    from huggingface_hub.errors import HfHubHTTPError

    place: dict[str, Any] = {"repo_id": publication.repo_id, "repo_type": publication.repo_type}

    def made(tag: str) -> bool:
        try:
            api.create_tag(tag=tag, revision=commit, tag_message=message, **place)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:
                raise
            return False
        return True

    for tag in publication.tags:
        if not made(tag) and changed:
            api.delete_tag(tag=tag, **place)
            made(tag)
    if version and not made(version) and changed:
        number = 2
        while not made(f"{version}.{number}"):
            number += 1


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
        if not how.get("create_pr"):  # data that are only proposed have no tag yet
            with explained(f"looking up the data of {publication.title}"):
                pin_data(api, publication)
        yield upload(api, publication, version=version_tag(), message=message, **how)


logger = logging.getLogger(__name__)
TITLE = "brainmri"
DESCRIPTION = "Classifiers of brain MRI slices with honest evidence: models, data, results and the demo."
NO_COLLECTIONS = (404, 405, 501)  # servers of the Hub's protocol need not have them


def bind(api: HfApi, owner: str, publications: list[Publication], *, public: bool) -> str | None:
    """Put the repositories into the owner's collection, made if need be. Returns its address; None without collections.

    Raises:
        PublishError: if the Hub refuses.
    """
    from huggingface_hub.errors import HfHubHTTPError

    with explained("making the collection"):
        try:
            collection = api.create_collection(
                TITLE, namespace=owner, description=DESCRIPTION, private=not public, exists_ok=True
            )
        except HfHubHTTPError as error:
            if error.response.status_code not in NO_COLLECTIONS:
                raise
            logger.warning("This server has no collections: nothing binds the repositories together.")
            return None
        for one in publications:
            api.add_collection_item(collection.slug, item_id=one.repo_id, item_type=one.repo_type, exists_ok=True)
    return str(collection.url)
