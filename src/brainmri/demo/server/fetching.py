"""Files that are given as an address: fetched from the open Internet alone, no larger than an upload, unnamed."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import safehttpx
from gradio.processing_utils import PUBLIC_HOSTNAME_WHITELIST

from brainmri.demo.server.names import neutral_name
from brainmri.demo.uploads.limits import LIMITS, UploadError, megabytes

REDIRECTS = 5
SECONDS = 60.0
FAILED = "The address could not be read. Give one that anyone can open, or upload the file."


async def fetched(url: str, folder: Path, most: int = LIMITS.archive_bytes) -> Path:
    """The file at an http or https address, written below `folder` under a neutral name.

    Every host, that of a redirection too, must have a public IP address, and that address is the one that is asked.

    Raises:
        UploadError: if there is no such file, it is larger than `most` bytes, or takes longer than `SECONDS`.
    """
    target = folder / secrets.token_hex(16) / neutral_name(unquote(urlsplit(url).path))
    target.parent.mkdir(parents=True)
    try:
        async with asyncio.timeout(SECONDS):
            await _fetch(url, target, most)
    except UploadError:
        _discard(target)
        raise
    except Exception:  # of httpx, safehttpx, ssl and the system; their words name the address
        _discard(target)
        raise UploadError(FAILED) from None
    return target


async def _fetch(url: str, target: Path, most: int) -> None:
    for _ in range(1 + REDIRECTS):
        host = httpx.URL(url).host
        trusted = safehttpx.matches_domain_whitelist(host, PUBLIC_HOSTNAME_WHITELIST)
        transport = None if trusted else safehttpx.AsyncSecureTransport(await safehttpx.async_validate_url(host))
        async with (
            httpx.AsyncClient(transport=transport, follow_redirects=False) as client,
            client.stream("GET", url) as response,
        ):
            if response.has_redirect_location:
                url = urljoin(url, response.headers["location"])
                continue
            response.raise_for_status()
            await _write(response, target, most)
            return
    raise UploadError(FAILED)


async def _write(response: httpx.Response, target: Path, most: int) -> None:
    written = 0
    with target.open("wb") as file:
        async for part in response.aiter_bytes(2**16):
            written += len(part)
            if written > most:
                raise UploadError(f"The file at this address is larger than {megabytes(most)}. Give a smaller one.")
            file.write(part)


def _discard(target: Path) -> None:
    target.unlink(missing_ok=True)
    target.parent.rmdir()
