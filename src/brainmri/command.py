"""How every script ends."""

import sys
from collections.abc import Callable
from typing import NoReturn


def call(main: Callable[[], int | None]) -> NoReturn:
    """Call `main` and exit with its status; a ValueError or OSError becomes one line, "error: ...", and status 2."""
    try:
        sys.exit(main() or 0)
    except (ValueError, OSError) as error:
        print("error:", " ".join(str(error).splitlines()), file=sys.stderr)
        sys.exit(2)
