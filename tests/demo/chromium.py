"""A browser for the tests: one that is there, else one that is installed now."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LOCK = Path(tempfile.gettempdir()) / "brainmri-tests-chromium.lock"  # the test processes share one installation


def chromium() -> str | None:
    """The browser's program; None for the one that Playwright has itself.

    Raises:
        RuntimeError: if there is none and none can be installed; says how to get one.
    """
    with FileLock(LOCK):
        if found := _found():
            return found
        if _playwrights_own():
            return None
        attempts = (
            [_by_playwright, _by_apt] if not shutil.which("apt-get") or os.getuid() else [_by_apt, _by_playwright]
        )
        said = [attempt() for attempt in attempts]
        if (found := _found()) or _playwrights_own():
            return found
    raise RuntimeError(
        "The tests of the demo need a browser. Install one: `apt-get install chromium`, or `python -m playwright "
        f"install --with-deps chromium`. Tried here: {'; '.join(said)}"
    )


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _playwrights_own() -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).is_file()


def _by_apt() -> str:
    if not shutil.which("apt-get"):
        return "no apt-get"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    update = subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True, text=True)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"]
    done = subprocess.run(install, env=environment, capture_output=True, text=True)
    return f"apt-get: {(done.stderr or update.stderr).strip()[-300:] or 'done'}"


def _by_playwright() -> str:
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return f"playwright: {done.stderr.strip()[-300:] or 'done'}"
