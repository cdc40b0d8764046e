"""What one repository on the Hub is to hold, and what must be true of it before anything leaves this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from brainmri.files import sha256
from brainmri.hub.leak_scan import TEXT_NAMES, TEXT_SUFFIXES, leaks

RepoType = Literal["model", "dataset", "space"]
MARK = "brainmri"  # a tag in the metadata of every card; repositories without it are somebody else's


class PublishError(ValueError):
    """What is to be published may not be, or the Hub did not take it; the message says what to do."""


@dataclass(frozen=True)
class Publication:
    """A tree of files, exactly as the repository will hold it.

    repo_id: OWNER/NAME. folder: the tree; nothing in it is left out. what: for the commit's title, such as "resnet50
    (clean, seed 42)". tags: of the git repository, besides that of the version. own_folders: what the repository
    has in these and the tree lacks is of an earlier publication, and goes. models: of a Space, those that it shows
    (OWNER/NAME[@REVISION]), in their order. data: of a model, the published data set that it was scored on, and the tag
    of the very version. program: of a Space, the SHA-256 of files of this package's own program, by path, as they
    were recorded when it was built: a file that has it is no user's, so that it may be of any kind and hold what looks
    like a path.
    """

    repo_type: RepoType
    repo_id: str
    folder: Path
    what: str
    tags: tuple[str, ...] = ()
    own_folders: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    data: tuple[str, str] | None = None
    program: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """POSIX paths of all files, relative to `folder`, sorted."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    @property
    def title(self) -> str:
        """The identifier with its type: "dataset OWNER/NAME"."""
        return f"{self.repo_type} {self.repo_id}"


def contents(publication: Publication) -> str:
    """The tree as lines of text: size and path of each file, and the sum."""
    sizes = {name: (publication.folder / name).stat().st_size for name in publication.files}
    lines = [f"  {size:>14,}  {name}" for name, size in sizes.items()]
    return "\n".join([*lines, f"  {sum(sizes.values()):>14,}  bytes in {len(sizes)} files"])


SUFFIXES = TEXT_SUFFIXES | {".safetensors", ".onnx", ".parquet", ".png", ".npy"}
# How a pickle of protocol 2 to 5 and an archive begin. A short safetensors file may begin with the same two bytes, but
# has a zero after them.
PICKLE = re.compile(rb"\x80[\x02-\x05][^\x00]|PK\x03\x04", re.DOTALL)
MAX_BYTES = 20 * 10**9  # of one file; larger ones are to be split (huggingface.co/docs/hub/storage-limits)
MAX_FILES = 10_000  # of one folder
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
NOT_A_LICENCE = {"unknown", "none", "unlicensed", "n-a"}
SPACE_METADATA = ("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file")


def check(publication: Publication) -> None:
    """Raises PublishError with everything that is wrong with a tree: names, files, card, licence, traces."""
    check_repo_id(publication.repo_id)
    found = _card_problems(publication)
    for name in publication.files:
        if _is_program(publication, name):
            continue
        found += [f"{name}: {problem}" for problem in _file_problems(publication.folder / name, publication.repo_id)]
    folders = [path for path in publication.folder.rglob("*") if path.is_dir()]
    for folder in [publication.folder, *folders]:
        if (count := sum(1 for _ in folder.iterdir())) > MAX_FILES:
            found.append(f"{folder.name}: {count:,} files in one folder, at most {MAX_FILES:,}")
    if found:
        raise PublishError(f"{publication.title} cannot be published: " + "; ".join(found))


def _is_program(publication: Publication, name: str) -> bool:
    known = publication.program.get(name)
    file = publication.folder / name
    return known is not None and publication.repo_type == "space" and not file.is_symlink() and sha256(file) == known


def check_licence(licence: str | None, of_what: str) -> str:
    """The licence's identifier on the Hub.

    Raises:
        PublishError: if none is given, or something that is no identifier.
    """
    if not licence or licence.lower() in NOT_A_LICENCE:
        raise PublishError(
            f"{of_what}: its licence is not given, so it is not published. State it with --license (an identifier such "
            "as cc-by-4.0, see huggingface.co/docs/hub/repositories-licenses), if you have the right to publish it"
        )
    if not LICENCE.fullmatch(licence):
        raise PublishError(f"--license {licence}: expected an identifier of the Hub, such as cc-by-4.0")
    return licence


def metadata_of(card: Path) -> dict[str, Any]:
    """The front matter of a card.

    Raises:
        PublishError: if there is none, or it is no YAML mapping.
    """
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        metadata = metadata_load(card)
    except (OSError, ValueError, YAMLError) as error:
        raise PublishError(f"{card.name}: its metadata cannot be read ({error})") from error
    if not metadata:
        raise PublishError(f"{card.name}: no metadata between two lines of ---")
    return dict(metadata)


def check_repo_id(repo_id: str) -> None:
    """Raises PublishError if the Hub takes no repository of this name."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishError(str(error)) from error
    if repo_id.count("/") != 1:
        raise PublishError(f"{repo_id}: expected OWNER/NAME")


def _card_problems(publication: Publication) -> list[str]:
    from huggingface_hub import ModelCard

    card = publication.folder / "README.md"
    if not card.is_file():
        return ["README.md is missing"]
    try:
        metadata = metadata_of(card)
        if publication.repo_type == "model":
            ModelCard(card.read_text(encoding="utf-8"))  # reads the model-index
    except ValueError as error:
        return [str(error)]
    found = []
    if MARK not in (metadata.get("tags") or []):
        found.append(f"README.md: the tag {MARK} is missing from its metadata")
    licence = metadata.get("license")
    if not licence or licence in NOT_A_LICENCE:
        found.append("README.md states no licence: give --license")
    if licence == "other" and not (metadata.get("license_name") and metadata.get("license_link")):
        found.append("README.md: a licence of no identifier needs license_name and license_link")
    if publication.repo_type == "space":
        needed = [key for key in SPACE_METADATA if key != "sdk_version" or metadata.get("sdk") != "static"]
        found += [f"README.md lacks {key} in its metadata" for key in needed if not metadata.get(key)]
        app = metadata.get("app_file")
        if app and not (publication.folder / app).is_file():
            found.append(f"{app}, which the Space starts with, is missing")
    return found


def _file_problems(path: Path, repo_id: str) -> list[str]:
    if path.name not in TEXT_NAMES and path.suffix not in SUFFIXES:
        return [f"files of this kind are not published (only {', '.join(sorted(SUFFIXES))})"]
    if (size := path.stat().st_size) > MAX_BYTES:
        return [f"{size:,} bytes, at most {MAX_BYTES:,}: split it"]
    with path.open("rb") as file:
        start = file.read(4)
    if PICKLE.match(start):
        return ["a pickle or an archive, which can hold code: neither is published"]
    return [f"holds {trace}, which tells of this machine" for trace in leaks(path, allowed=repo_id.partition("/")[0])]
