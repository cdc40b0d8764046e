"""The models that a Space shows, as the Hub has them: at which commit, with which files, and who may read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brainmri.errors import wrong_revision
from brainmri.hub.checks import PublishError
from brainmri.hub.hub_errors import explained, status_of
from brainmri.models.sessions import ONNX_FILE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# What the demo reads of a model before it starts, where the model has it.
PRELOADED = re.compile(
    r"(config|preprocessor_config|uncertainty|result|model\.safetensors\.index)\.json|(model(-\d+-of-\d+)?|uncertainty)"
    rf"\.safetensors|{re.escape(ONNX_FILE)}"
)


@dataclass(frozen=True)
class ShownModel:
    """A model of a Space.

    Attributes:
        repo_id: OWNER/NAME.
        revision: the commit that the Space pulls; None where the model is not on the Hub yet.
        files: what the Space loads when it is built; none of private models, which it may not read then.
        private: whether the Space needs a token to read it.
    """

    repo_id: str
    revision: str | None = None
    files: tuple[str, ...] = ()
    private: bool = False


def preloaded(files: list[str]) -> tuple[str, ...]:
    """Those of a repository's files that the demo reads before it starts."""
    return tuple(sorted(name for name in files if PRELOADED.fullmatch(name)))


def look_up(api: HfApi, place: str) -> ShownModel:
    """The model `place` (OWNER/NAME[@REVISION]) as the Hub has it.

    Raises:
        PublishError: if there is none that the token sees, or it is none that the demo can open.
    """
    from huggingface_hub.errors import HfHubHTTPError

    repo_id, _, revision = place.partition("@")
    with explained(f"looking for the model {place}"):
        try:
            found = api.model_info(repo_id, revision=revision or None)
        except HfHubHTTPError as error:
            if status_of(error) not in (401, 404):
                raise
            reason = wrong_revision(repo_id, revision) or "there is no such model on the Hub that this token may read"
            raise PublishError(f"--models {place}: {reason}; publish it first, or name another one") from error
    files = [sibling.rfilename for sibling in found.siblings or []]
    if "config.json" not in files:
        raise PublishError(f"--models {place}: the repository has no config.json, so the demo cannot open it")
    private = bool(found.private or found.gated)
    return ShownModel(found.id, found.sha, () if private else preloaded(files), private)
