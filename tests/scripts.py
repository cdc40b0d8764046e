"""The scripts run in this process, for tests that need what a script does but no process of its own.

A process of its own spends most of its time on imports. Each script has tests of that kind too.
"""

import io
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run_here(
    script: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python scripts/SCRIPT ARGUMENTS` does, with its exit status and what it prints.

    environment: added to that of this process. Libraries that read a variable when they are imported do not see it,
    and log messages go to pytest.
    """
    command = [str(SCRIPTS / script), *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.dict(os.environ, environment or {}),
        mock.patch.object(sys, "argv", command),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as end:
            return subprocess.CompletedProcess(command, int(end.code or 0), out.getvalue(), err.getvalue())
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if torch := sys.modules.get("torch"):  # train.py and benchmark.py treat subnormal numbers as zero
                torch.set_flush_denormal(False)
    raise AssertionError(f"{script} does not end as every script does")
