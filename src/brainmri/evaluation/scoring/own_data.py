"""What a run has already seen of the images that it is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainmri.data.binary import NAME_SUFFIX, merged_fingerprint

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData


@dataclass(frozen=True)
class Relation:
    """own_data: whether these are the data that the run was made on; None where that is not known.

    statement: the same in a sentence. warnings: (headline, sentence) where the figures are too good.
    """

    own_data: bool | None
    statement: str
    warnings: list[tuple[str, str]]


def relation(result: dict[str, Any] | None, data: PreparedData, split: str) -> Relation:
    """How `split` ("train", "validation", "test" or "all") of `data` stands to the run of `result`, if there is one."""
    if result is None:
        return Relation(None, "Whether the model was trained on these images is not known here.", [])
    own, fingerprint = result["data"], data.info["fingerprint"]
    if own["fingerprint"] in (fingerprint, merged_fingerprint(fingerprint, own["classes"])):
        return Relation(True, f"The data are those of the run itself; {_parts(split)}.", _seen(data, split))
    warnings = []
    if own["name"].removesuffix(NAME_SUFFIX) == data.info["name"]:
        text = (
            f"The run was trained on data of the same name ({data.info['name']}) in another preparation or version: "
            "some of these images may have been its training images."
        )
        warnings.append(("Perhaps training images", text))
    statement = (
        f"The data are not those of the run, which was trained on {own['name']} (fingerprint {own['fingerprint']}). "
        "Whether the same pictures occur in both was not looked into."
    )
    return Relation(False, statement, warnings)


def _parts(split: str) -> str:
    return "all its splits are scored together" if split == "all" else f"the split scored is the run's {split} split"


def _seen(data: PreparedData, split: str) -> list[tuple[str, str]]:
    if split == "test":
        return []
    if split == "validation":
        text = "The run chose its epoch and its temperature on these images, so that the figures are too good."
        return [("Validation images", text)]
    count, total = len(data.rows("train")), len(data.index)
    which = "All of these images were" if split == "train" else f"{count:,} of these {total:,} images were"
    return [("Training images", f"{which} in the run's training set: the figures say little about new images.")]
