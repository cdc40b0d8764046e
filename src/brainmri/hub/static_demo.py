"""The demo that runs in a visitor's browser: a folder of files for any web server, and one page for a double click."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Sequence
from importlib import resources
from importlib.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from brainmri.evaluation.browser import MODEL, write_browser_model
from brainmri.evaluation.browser_int8 import check_data, int8_sentence, write_int8
from brainmri.evaluation.sequence import ESTIMATOR
from brainmri.files import sha256
from brainmri.hub.checks import MARK, Publication
from brainmri.hub.licence_file import write_licence
from brainmri.reporting.model_card import OUR_LICENCE

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData
    from brainmri.evaluation.model import LoadedModel
    from brainmri.schemas import BrowserModel

SINGLE = "brain-mri.html"  # everything in one file
# What is in the single page, for its script to take out.
WORKER = "inside.js"  # of that file alone
INSIDE = (
    WORKER,
    "ort.wasm.gz",
    "jpeg.wasm.gz",
    "jpeg2000.wasm.gz",
    "jpegls.wasm.gz",
    MODEL,
    ESTIMATOR,
)  # and the network
TITLE = "Brain MRI slices, in your browser"
SHORT = "Classify brain MRI slices; nothing is sent"
# Of the page, what the checks before a publication would refuse by its kind, or for an address inside that looks like a
# path of this machine. The service worker is not among them: it is written anew.
NOT_PLAIN = (
    "icon.svg",
    "codecs.js",
    "jpeg.wasm.gz",
    "jpeg2000.wasm.gz",
    "jpegls.wasm.gz",
    "ort.mjs",
    "ort.wasm.gz",
    "worker.js",
)
# By which pages share memory with their workers, so that the network gets its threads on the first visit too.
HEADERS = {
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "cross-origin",
}


def built_page() -> Traversable:
    """The folder with the page as it was built of the folder `browser` of the checkout."""
    return _static() / "browser"


def _static() -> Traversable:
    return resources.files("brainmri") / "demo" / "static"


def page_digests() -> dict[str, str]:
    """The SHA-256 of each file of the built page, by name, as they were recorded when it was built."""
    record = (_static() / "browser.sha256").read_text(encoding="utf-8")
    lines = (line.partition("  ") for line in record.splitlines())
    return {name: digest for digest, _, name in lines}


def write_static_demo(model: LoadedModel, folder: Path, data: PreparedData | None = None) -> BrowserModel:
    """Write the demo of one model into a folder, which exists and is empty; returns what `model.json` says.

    Args:
        data: what the model was made on. With them weights of 8 bits are written too, and used where they say the same.

    Raises:
        ValueError: if the page cannot run the model (see `write_browser_model`), the data are not the model's, or a
            file of the page is not as it was built.
    """
    if data:
        check_data(model, data)
    record = write_browser_model(model, folder)
    if data:
        record = write_int8(model, data, folder, record)
    with resources.as_file(built_page()) as page:
        for name, digest in page_digests().items():  # whatever else lies there is not of the page
            if not (page / name).is_file() or sha256(page / name) != digest:
                raise ValueError(
                    f"{page / name} is not as it was built: install brainmri again, or, in a checkout, build the page "
                    "anew (npm ci --ignore-scripts && npm run build, in the folder browser)"
                )
            shutil.copyfile(page / name, folder / name)
    worker = folder / "sw.js"
    text = worker.read_text(encoding="utf-8")
    worker.write_text(text.replace('"VERSION"', f'"{_version(folder)}"'), encoding="utf-8", newline="\n")
    (folder / SINGLE).write_text(_single_page(folder, (*INSIDE, record.network)), encoding="utf-8", newline="\n")
    (folder / WORKER).unlink()
    return record


def static_space(
    model: LoadedModel, repo_id: str, place: str, folder: Path, data: PreparedData | None = None
) -> Publication:
    """Write the tree of a static Space into the new folder `folder`.

    Args:
        place: of the model, for the card: a run folder, or OWNER/NAME on the Hub. data: as of `write_static_demo`.
    """
    folder.mkdir(parents=True)
    record = write_static_demo(model, folder, data)
    (folder / SINGLE).unlink()  # the Space itself is one click away
    front: dict[str, object] = {
        "title": TITLE,
        "emoji": "🧠",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "static",
        "app_file": "index.html",
        "license": OUR_LICENCE,
        "short_description": SHORT,
        "tags": [MARK, "mri", "brain-tumor", "medical-imaging"],
        "custom_headers": HEADERS,
    }
    if "/" in place and not Path(place).exists():
        front["models"] = [place.partition("@")[0]]
    text = (
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# {TITLE}\n\n"
        f"The model {model.name} runs in the visitor's browser: no picture leaves the device, nothing is kept, and "
        "after the first visit the page works without a network. Research software, not a medical device.\n"
    )
    if record.int8:
        text += f"\n{int8_sentence(record.int8)}\n"
    write_licence(folder)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
    digests = page_digests()
    program = {name: digests[name] for name in NOT_PLAIN}
    return Publication("space", repo_id, folder, "the demo that runs in the browser", program=program)


def _version(folder: Path) -> str:
    """Of all files: the service worker of another version keeps its own."""
    found = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        found.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def _single_page(folder: Path, inside: Sequence[str]) -> str:
    """The page with everything inside, which a browser opens from a disk: there it may neither fetch nor import."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    script = (folder / "main.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    style = (folder / "style.css").read_text(encoding="utf-8")
    files = "\n".join(
        f'<script type="text/plain" data-file="{name}">{_base64(folder / name)}</script>' for name in inside
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}' 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src "
        f"blob:; img-src blob:; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'"
    )
    for pattern, text in (
        (
            r'(http-equiv="Content-Security-Policy" content=)"[^"]*"',
            f'http-equiv="Content-Security-Policy" content="{policy}"',
        ),
        (r'<link rel="icon"[^>]*>\n?', ""),
        (r'<link rel="stylesheet"[^>]*>', f"<style>{style}</style>"),
        (r'<script type="module" src="main.js"></script>', ""),
        (r"</body>", f'{files}\n<script type="module">{script}</script>\n</body>'),
    ):
        page, count = re.subn(pattern, lambda _match, text=text: text, page, count=1)  # type: ignore[misc]
        assert count == 1, pattern
    return page


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
