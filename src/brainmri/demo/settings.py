"""Which models the demo shows: what was asked for, else what its own README.md names, else what was trained here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from brainmri.demo.sample import default_places

MODELS_VARIABLE = "BRAINMRI_MODELS"  # places, apart by spaces


def model_places(given: Sequence[str], home: Path) -> list[str]:
    """Run folders and Hub IDs `OWNER/NAME[@REVISION]`, the one to show first in front. No visitor can add to them.

    Args:
        given: of the command line; they win over the variable BRAINMRI_MODELS, which wins over the key `models` in the
            metadata of `home/README.md`, as a Space has it. With none of them: the runs in `home/runs`, else a small
            model that is trained on the simulated set.
        home: the folder with app.py.
    """
    return list(given) or os.environ.get(MODELS_VARIABLE, "").split() or _of_card(home) or default_places(home / "runs")


def _of_card(home: Path) -> list[str]:
    from huggingface_hub import metadata_load

    card = home / "README.md"
    metadata = metadata_load(card) if card.is_file() else None
    return list((metadata or {}).get("models", []))
