"""The file LICENSE of a repository: the licence of the code, and what it does not cover."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from brainmri.hub.checks import PublishError
from brainmri.reporting.model_card import ICBM_NOTICE, OUR_LICENCE

NAME = "LICENSE"


def write_licence(folder: Path, weights: str | None = None, *, examples: bool = False) -> None:
    """Write LICENSE into the tree of a repository.

    Args:
        weights: the licence of the network in it, an identifier of the Hub; None without a network.
        examples: whether the tree holds simulated slices.

    Raises:
        PublishError: if the installed package lacks its licence.
    """
    # A checkout may have records of its own, without the licence, before those of the installation.
    found = (one.read_text(f"licenses/{NAME}") for one in metadata.distributions(name="brainmri"))
    text = next(filter(None, found), None)
    if text is None:
        raise PublishError("brainmri is not installed with its licence, which what it publishes needs: pip install it")
    before = []
    if weights not in (None, OUR_LICENCE):
        before.append(
            f"The weights in this repository are under the licence {weights} "
            "(https://huggingface.co/docs/hub/repositories-licenses). "
            f"Its code is under {OUR_LICENCE}, whose text follows."
        )
    if examples:
        before.append(f"The slices in examples/ are simulated. {ICBM_NOTICE}")
    (folder / NAME).write_text("\n\n".join([*before, text]), encoding="utf-8", newline="\n")
