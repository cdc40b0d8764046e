"""Where a model lies: in a folder, or in a repository on the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from brainmri.suggestions import did_you_mean, paths_like

RUNS = "runs"  # where training puts its folders, if it is not told otherwise
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
ADDRESS = re.compile(r"https?://[^/]+/(?P<repository>[^/]+/[^/]+)(/tree/(?P<revision>[^/]+))?/?")


def on_hub(place: str) -> tuple[str, str | None]:
    """The repository and the revision that `place`, which is no file or folder here, names: OWNER/NAME[@REVISION].

    What is meant as a path is not sought on the Hub: a folder's name, mistyped, is nobody else's business, and what
    somebody has published under it is not what was meant.

    Raises:
        ValueError: if it is meant as a path, or names no repository.
    """
    if address := ADDRESS.fullmatch(place):
        name = address["repository"] + (f"@{address['revision']}" if address["revision"] else "")
        raise ValueError(f"{place}: give the repository's name, not its address{did_you_mean([name])}")
    name, at, revision = place.partition("@")
    if at and Path(name).exists():
        raise ValueError(
            f"{place}: {name} lies here, and only repositories on the Hub have revisions: leave out @{revision}"
        )
    if "/" in revision and "/" not in name:
        branch, _, rest = revision.partition("/")
        raise ValueError(f"{place}: the revision stands at the end{did_you_mean([f'{name}/{rest}@{branch}'])}")
    path = Path(place).expanduser()
    like = [found for found in paths_like(path) if "/" in place or "\\" in place or found.is_dir()]
    if _is_path(place) or any(found.name == path.name for found in like):
        raise ValueError(f"{place}: no such folder or file{did_you_mean(list(map(str, like)))}")
    if not REPOSITORY.fullmatch(name):
        meant = did_you_mean(list(map(str, like)))
        raise ValueError(
            f"{place}: no such folder or file, and no repository on the Hub (OWNER/NAME[@REVISION]){meant}"
        )
    return name, revision or None


def _is_path(place: str) -> bool:
    """Whether it looks like a path of this machine rather than OWNER/NAME."""
    name = place.partition("@")[0]
    if name.startswith((".", "~", "/")) or name.endswith(("/", "\\")) or "\\" in name or name.count("/") > 1:
        return True
    owner, slash, _ = name.partition("/")
    return bool(slash) and (owner == RUNS or Path(owner).exists())
