"""What one repository on the Hub is to hold: a folder, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RepoType = Literal["model", "dataset", "space"]
MARK = "brainmri"  # a tag in the metadata of every card; repositories without it are somebody else's
ONNX_FILE = "onnx/model.onnx"  # where a published model has it, beside its weights


class PublishError(ValueError):
    """What is to be published may not be, or the Hub did not take it; the message says what to do."""


@dataclass(frozen=True)
class Publication:
    """A tree of files, exactly as the repository will hold it.

    repo_id: OWNER/NAME. folder: the tree; nothing in it is left out. what: for the commit's title, such as "resnet50
    (clean, seed 42)". tags: of the git repository, besides that of the version. own_folders: what the repository
    has in these and the tree lacks is of an earlier publication, and goes.
    """

    repo_type: RepoType
    repo_id: str
    folder: Path
    what: str
    tags: tuple[str, ...] = ()
    own_folders: tuple[str, ...] = ()

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
