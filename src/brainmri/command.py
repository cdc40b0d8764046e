"""How every script ends."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


def call(main: Callable[[], int | None]) -> NoReturn:
    """Call `main` and exit with its status; a ValueError or OSError becomes one line, "error: ...", and status 2.

    The scripts' folder leaves the search path first, where Python put it: scripts/evaluate.py would hide the library
    of that name from every script. What a script needs of it is therefore imported in `main`.
    """
    if sys.path[0] == str(Path(sys.argv[0]).resolve().parent):
        del sys.path[0]
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(2)
