"""What the client raises when the Hub refuses or cannot be reached, as one sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from brainmri.hub.checks import PublishError

QUOTA = re.compile(r"quota|storage limit|storage space", re.IGNORECASE)
NOT_DONE_HERE = (404, 405, 501)  # how servers of the Hub's protocol answer where they lack a part of it


def status_of(error: BaseException) -> int | None:
    """The HTTP status that the Hub answered with; None for any other error."""
    from huggingface_hub.errors import HfHubHTTPError

    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what the client raises into one sentence for the user.

    Raises:
        PublishError: in place of any error of HTTP, of the network, or of the server's word on a file.
    """
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except PublishError:
        raise
    except KeyError as error:  # the client takes this from the answer without a look
        raise PublishError(
            f"the server's answer lacks {error}, so it does not do all that was asked for ({doing})"
        ) from error
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise PublishError(f"{_reason(error)} ({doing})") from error


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HTTPError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HTTPError):
        cause = cause.__cause__
    error = cause or error
    said = " ".join(str(error).split())
    status = status_of(error)
    if status in (402, 413, 507) or (status in (None, 403) and QUOTA.search(said)):
        return f"no room: the Hub refuses more of this account's storage or of this size; it says: {said}"
    if status == 401:
        return f"wrong token: the Hub does not know it (huggingface.co/settings/tokens); it says: {said}"
    if status == 403:
        return f"no right: this token may not do that; it says: {said}"
    if status == 409:
        return f"the name is taken, or another upload is at work; it says: {said}"
    if status == 412:
        return f"the repository changed meanwhile: run the same command again; it says: {said}"
    if status == 429:
        return f"too many requests: wait, and run the same command again; it says: {said}"
    if status is None and isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return f"the Hub cannot be reached, or the network broke down: run the same command again, it goes on; {said}"
    if status == 501:
        return f"this server does not do that; it says: {said}"
    if status is not None and status >= 500:
        return f"the Hub failed ({status}): run the same command again, it goes on; it says: {said}"
    return said
