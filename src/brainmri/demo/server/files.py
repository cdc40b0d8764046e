"""Visitors' files: names never reach the disk, and addresses are fetched from the open Internet alone."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import safehttpx
from gradio.processing_utils import PUBLIC_HOSTNAME_WHITELIST
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brainmri.demo.server.body_limits import UPLOAD, RefusedBody
from brainmri.io.limits import LIMITS, UploadError, megabytes
from brainmri.io.read import IMAGE_SUFFIXES

KEPT_SUFFIXES = IMAGE_SUFFIXES | {".dcm", ".nii", ".gz", ".zip"}  # any other could be a part of a name
PARTS = 1000  # files of one request
HEADER_BYTES = 8 * 2**10  # of one part


def neutral_name(name: str) -> str:
    """What a file is called on disk: "upload", and its suffix where that only tells a kind of file."""
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    return f"upload{suffix if suffix in KEPT_SUFFIXES else ''}"


class NeutralNames:
    """ASGI middleware: of what is uploaded, the files alone go on, under neutral names."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].rstrip("/") != UPLOAD:
            await self.app(scope, receive, send)
            return
        kind, options = parse_options_header(Headers(scope=scope).get("content-type"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            await self.app(scope, receive, send)  # which refuses it
            return
        renaming = _Renaming(boundary)
        headers = MutableHeaders(raw=list(scope["headers"]))
        del headers["content-length"]  # of the old names
        headers["content-type"] = f"multipart/form-data; boundary={renaming.boundary}"
        whole = False

        async def renamed() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                message = await receive()
            except RefusedBody:
                raise MultipartParseError("refused") from None  # at which Gradio deletes what it has written
            if message["type"] != "http.request":
                raise MultipartParseError("cut off")
            whole = not message.get("more_body", False)
            return {**message, "body": renaming.of(message.get("body", b""))}

        await self.app({**scope, "headers": headers.raw}, renamed, send)


class _Renaming:
    """A multipart body, written anew as it comes."""

    def __init__(self, boundary: bytes):
        self.boundary = secrets.token_hex(20)  # none that a file could hold
        self._line = b"--" + self.boundary.encode()
        self._out = bytearray()
        self._headers: list[tuple[bytes, bytes]] = []
        self._name, self._value, self._header_bytes, self._parts, self._is_file = b"", b"", 0, 0, False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._end_of_header,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._last,
            },
        )

    def of(self, data: bytes) -> bytes:
        """What goes on in the place of `data`.

        Raises:
            MultipartParseError: if this is no such body, or one of too many parts.
        """
        self._parser.write(data)
        done, self._out = bytes(self._out), bytearray()
        return done

    def _begin(self) -> None:
        self._headers, self._header_bytes, self._is_file = [], 0, False
        self._parts += 1
        if self._parts > PARTS:
            raise MultipartParseError(f"more than {PARTS:,} parts")

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += self._counted(data[start:end])

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += self._counted(data[start:end])

    def _counted(self, data: bytes) -> bytes:
        self._header_bytes += len(data)
        if self._header_bytes > HEADER_BYTES:
            raise MultipartParseError("header of a part is too long")
        return data

    def _end_of_header(self) -> None:
        self._headers.append((self._name.lower(), self._value))
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(dict(self._headers).get(b"content-disposition"))
        self._is_file = b"filename" in options and options.get(b"name") == b"files"
        if self._is_file:  # Gradio looks at no other part
            name = neutral_name(options[b"filename"].decode("utf-8", "replace"))
            disposition = f'Content-Disposition: form-data; name="files"; filename="{name}"\r\n'
            self._out += self._line + b"\r\n" + disposition.encode() + b"\r\n"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._out += data[start:end]

    def _end(self) -> None:
        if self._is_file:
            self._out += b"\r\n"

    def _last(self) -> None:
        self._out += self._line + b"--\r\n"


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
