"""Run folders of version 1, whose files had other names and keys."""

from __future__ import annotations

from typing import Any

# Their names of what is `uncertainty.json` and `uncertainty.safetensors` today; the record names its arrays itself.
EARLIER_UNCERTAINTY, EARLIER_ARRAYS = "trust.json", "trust.safetensors"
KEYS = {
    "reject": "ood",
    "reject_reason": "ood_reason",
    "neutralize": "domain_randomization",
    "one_file_per_image": "duplicate_aware_sampling",
}
STAGE_KEYS = {"feature_views": "cached_views"}
AUGMENTATION_KEYS = {"transplant": "copy_paste", "half_mirror": "hemisphere_mirroring"}


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """`result.json`, `trust.json` or `recipe.yaml` of version 1 under today's keys; what is of today stays as it is.

    A measurement that is not kept any more (`training.precision_probe`) is left out.
    """
    found = _with(content, KEYS)
    if found.get("schema_version") == 1:
        found["schema_version"] = 2
    if isinstance(training := found.get("training"), dict):
        found["training"] = {key: value for key, value in training.items() if key != "precision_probe"}
    if isinstance(stages := found.get("stages"), list):
        found["stages"] = [_with(stage, STAGE_KEYS) for stage in stages]
    if "augmentation" in found:
        found["augmentation"] = _with(found["augmentation"], AUGMENTATION_KEYS)
    return found


def _with(content: Any, names: dict[str, str]) -> Any:
    """`content` with other names for some of its keys; what has no keys as it is."""
    return {names.get(key, key): value for key, value in content.items()} if isinstance(content, dict) else content
