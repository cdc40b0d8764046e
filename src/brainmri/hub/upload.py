"""Bringing a tree to the Hub: what is there already stays, an interrupted upload goes on, and errors say what to do.

`deliver` brings checked trees there, and `bind` puts them into one collection.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainmri import __version__
from brainmri.environment import git_commit
from brainmri.hub.checks import Publication, PublishError
from brainmri.hub.hub_errors import NOT_DONE_HERE, explained, status_of
from brainmri.hub.place import (
    NO_PULL_REQUESTS,
    check_name,
    check_pull_requests,
    files_there,
    keys,
    make_place,
)
from brainmri.hub.shown_models import ShownModel, look_up, preloaded
from brainmri.hub.tags import same_commit, tag_commit, version_tag

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi

PUBLIC_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Outcome:
    """What an upload did.

    Attributes:
        repo_id: OWNER/NAME. url: of its page.
        commit: the head afterwards (None: the server does not tell).
        changed: whether a commit was made; without one the repository held the tree already.
        branch: where that is, if not the main one.
        made_public: whether the repository was private before.
        private_models: those of a Space that it can read only with a secret.
    """

    repo_id: str
    url: str
    commit: str | None
    changed: bool
    pull_request: str | None = None
    branch: str | None = None
    made_public: bool = False
    private_models: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What happened, in words."""
        to, it = (f" to branch {self.branch}", f"branch {self.branch}") if self.branch else ("", "it")
        done = f"uploaded{to}, now at" if self.changed else f"nothing new, {it} is at"
        public = "; the repository was private, and is public now" if self.made_public else ""
        return f"{done} {self.commit}{public}"


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


def check_on_hub(api: HfApi, publication: Publication, *, create_pr: bool = False) -> None:
    """What only the Hub can tell before anything is sent: whether the name is free or ours, and the card valid.

    Raises:
        PublishError: if the repository is somebody else's, the Hub refuses the card's metadata, or a pull request is
            wanted where there are none.
    """
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    check_name(api, publication.repo_type, publication.repo_id)
    card = (publication.folder / "README.md").read_text(encoding="utf-8")
    with explained(f"checking {publication.title}"):
        if create_pr:
            check_pull_requests(api, publication, exists=False)
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
        PublishError: if the Hub cannot be reached or refuses, or the repository does not hold the tree afterwards. What
            it has received is not sent again next time. A proposal that came to nothing leaves no new repository.
    """
    with explained(f"publishing {publication.title}"):
        place = make_place(api, publication, public)
        try:
            if create_pr:
                check_pull_requests(api, publication, exists=True)
            done, changed = _commit(api, publication, revision, create_pr)
            if create_pr and changed and not done.pr_url:
                raise PublishError(f"{publication.title} was changed itself, and not proposed: {NO_PULL_REQUESTS}")
        except Exception:
            if create_pr and place.new:
                api.delete_repo(missing_ok=True, **keys(publication))
            raise
        if not create_pr and done.oid:
            tag_commit(api, publication, done.oid, version, message)
    return Outcome(
        publication.repo_id, _url(api, publication), done.oid, changed, done.pr_url, revision, place.made_public
    )


def _commit(api: HfApi, publication: Publication, revision: str | None, create_pr: bool) -> tuple[CommitInfo, bool]:
    """Commit what the repository lacks, and look whether it is there. Also returns whether there was anything."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    place = keys(publication)
    if revision and revision not in {branch.name for branch in api.list_repo_refs(**place).branches}:
        api.create_branch(branch=revision, exist_ok=True, **place)
    own = tuple(f"{folder}/" for folder in publication.own_folders)
    files = set(publication.files)
    before = files_there(api, revision=revision, **place)
    gone = [name for name in before if name.startswith(own) and name not in files]
    added = [CommitOperationAdd(path_in_repo=n, path_or_fileobj=publication.folder / n) for n in sorted(files)]
    head = api.repo_info(revision=revision, **place).sha
    logging.getLogger("huggingface_hub.hf_api").addFilter(_not_said_twice)
    try:
        done = api.create_commit(
            operations=[*(CommitOperationDelete(path_in_repo=name) for name in gone), *added],
            commit_message=f"brainmri: {publication.what}",
            revision=revision,
            create_pr=create_pr,
            **place,
        )
    except KeyError as error:
        if not create_pr:
            raise
        # The client takes the proposal's address from the answer without a look.
        raise PublishError(f"{publication.title} was changed itself, and not proposed: {NO_PULL_REQUESTS}") from error
    _check_arrived(api, publication, done.pr_revision or revision, added, gone)
    return done, not same_commit(done.oid, head)


def _check_arrived(
    api: HfApi, publication: Publication, revision: str | None, added: list[CommitOperationAdd], gone: list[str]
) -> None:
    """Whether the repository holds the tree: a server may take a commit, and leave files out of it without a word."""
    tree = api.list_repo_tree(recursive=True, revision=revision, **keys(publication))
    there = {entry.path: entry for entry in tree if hasattr(entry, "size")}
    wrong = [one.path_in_repo for one in added if not _arrived(one, there.get(one.path_in_repo))]
    wrong += [name for name in gone if name in there]
    if wrong:
        some = ", ".join(wrong[:3]) + ", ..." * (len(wrong) > 3)
        raise PublishError(
            f"{publication.title}: the server took the commit, but {len(wrong)} of its {len(added) + len(gone)} files "
            f"are not there as they were sent ({some}), so what is there now is of no use: run the same command again; "
            "if that does not help, publish to main, or under another --repo"
        )


def _arrived(sent: CommitOperationAdd, there: Any) -> bool:
    """Whether the entry of the tree has the size and, where it tells one that can be compared, the hash of the file."""
    if there is None or there.size != sent.upload_info.size:
        return False
    if there.lfs:
        return bool(there.lfs.sha256 == sent.upload_info.sha256.hex())
    if not re.fullmatch(r"[0-9a-f]{40}", there.blob_id or ""):
        return True
    content = Path(sent.path_or_fileobj).read_bytes()  # type: ignore[arg-type]  # a path
    return bool(hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == there.blob_id)


def _not_said_twice(record: logging.LogRecord) -> bool:
    """Leaves out what the client says of an upload without changes, which `Outcome.summary` says too."""
    return "Skipping to prevent empty commit" not in record.getMessage()


def _url(api: HfApi, publication: Publication) -> str:
    prefix = "" if publication.repo_type == "model" else f"{publication.repo_type}s/"
    return f"{api.endpoint}/{prefix}{publication.repo_id}"


def find_owner(api: HfApi, repo: str | None) -> str:
    """The owner in `repo` (OWNER/NAME, OWNER/ or NAME), or else the account of the token.

    Raises:
        PublishError: if there is no token that may write there.
    """
    whose = account(api)
    owner = (repo or "").rpartition("/")[0] or str(whose["name"])
    check_owner(owner, whose)
    return owner


def deliver(api: HfApi, publications: list[Publication], **how: Any) -> Iterator[Outcome]:
    """Ask the Hub about all the trees, which were checked here, then upload one after the other. how: see `upload`.

    The models of a Space are pinned to what the Hub has when its turn comes, so that a Space comes after its models.

    Raises:
        PublishError: if the Hub refuses any of them before anything is sent, or later.
    """
    from brainmri.hub.lineage import pin_data  # late, as both know what a report is; `train --help` does not wait
    from brainmri.hub.space_repository import pin_models

    for publication in publications:
        check_on_hub(api, publication, create_pr=bool(how.get("create_pr")))
    message = f"brainmri {__version__}, commit {git_commit() or 'unknown'}"
    uploaded: dict[str, ShownModel] = {}
    for publication in publications:
        shown = [uploaded.get(place) or look_up(api, place) for place in publication.models]
        if shown:
            pin_models(publication, shown)
        if not how.get("create_pr"):  # data that are only proposed have no tag yet
            with explained(f"looking up the data of {publication.title}"):
                pin_data(api, publication)
        outcome = upload(api, publication, version=version_tag(), message=message, **how)
        if publication.repo_type == "model":
            private = not how.get("public") and api.repo_info(publication.repo_id).private is not False
            files = () if private else preloaded(publication.files)
            uploaded[publication.repo_id] = ShownModel(publication.repo_id, outcome.commit, files, private)
        yield replace(outcome, private_models=tuple(model.repo_id for model in shown if model.private))


logger = logging.getLogger(__name__)
TITLE = "brainmri"
DESCRIPTION = "Classifiers of brain MRI slices with honest evidence: models, data, results and the demo."


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
            if status_of(error) not in NOT_DONE_HERE:
                raise
            logger.warning("This server has no collections: nothing binds the repositories together.")
            return None
        for one in publications:
            api.add_collection_item(collection.slug, item_id=one.repo_id, item_type=one.repo_type, exists_ok=True)
    return str(collection.url)
