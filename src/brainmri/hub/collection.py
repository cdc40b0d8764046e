"""The collection that binds everything published together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from brainmri.hub.publication import Publication
from brainmri.hub.upload import explained

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logging.getLogger(__name__)

TITLE = "brainmri"
DESCRIPTION = "Classifiers of brain MRI slices with honest evidence: models, data, results and the demo."
NO_COLLECTIONS = (404, 405, 501)  # servers of the Hub's protocol need not have them


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
            if error.response.status_code not in NO_COLLECTIONS:
                raise
            logger.warning("This server has no collections: nothing binds the repositories together.")
            return None
        for one in publications:
            api.add_collection_item(collection.slug, item_id=one.repo_id, item_type=one.repo_type, exists_ok=True)
    return str(collection.url)
