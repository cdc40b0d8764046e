"""The commit of the published data that a model names, known once the data are on the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from brainmri.hub.benchmark import EVAL_RESULTS
from brainmri.hub.checks import Publication, PublishError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def pin_data(api: HfApi, publication: Publication) -> None:
    """Put the commit of the data set's tag into the card and `.eval_results` of a model; others stay as they are.

    A tag moves where the data are published again; the commit stays what the model was scored on.

    Raises:
        PublishError: if the Hub has no such data set, or not these very data.
    """
    from huggingface_hub import ModelCard, parse_eval_result_entries
    from huggingface_hub.errors import HfHubHTTPError

    if publication.data is None:
        return
    data_id, fingerprint = publication.data
    try:
        commit = api.dataset_info(data_id, revision=fingerprint).sha
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 404):
            raise
        raise PublishError(
            f"{publication.title}: there is no data set {data_id} with the tag {fingerprint}, so it does not hold the "
            "data of this model: publish these first, or leave --data-id out"
        ) from error
    card = ModelCard.load(publication.folder / "README.md")
    for result in card.data.eval_results or []:
        result.dataset_revision = commit
    card.save(publication.folder / "README.md")
    for file in (publication.folder / EVAL_RESULTS).glob("*.yaml"):
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
        for entry in entries:
            entry["dataset"]["revision"] = commit
        parse_eval_result_entries(entries)
        file.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), encoding="utf-8", newline="\n")
