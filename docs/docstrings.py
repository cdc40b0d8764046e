"""How the site reads docstrings: examples are code, and one line may describe several names.

`a, b: text` describes two names, and so does `a: text. b: text`, where b is a parameter or attribute.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from griffe import Extension

if TYPE_CHECKING:
    from griffe import Object

NEXT = re.compile(r"(?<=[.;?)]) (\w+(?:, \w+)*): ")
SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +\S.*)*)", re.MULTILINE)


class Docstrings(Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if not obj.docstring:
            return
        known = {*obj.members, *(one.name for one in getattr(obj, "parameters", ()))}
        text = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
        head, found, body = text.partition("\n\n")
        body = NEXT.sub(lambda one: f"\n    {one[1]}: " if set(one[1].split(", ")) <= known else one[0], body)
        text = f"{head}{found}{body}"
        obj.docstring.value = SEVERAL.sub(
            lambda found: "\n".join(f"{found[1]}{name}: {found[3]}" for name in found[2].split(", ")), text
        )
