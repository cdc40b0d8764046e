"""Names that stand for patients and scans without telling who they are: HMAC-SHA256 under a key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainmri.io.inputs import Input

LEAST = 16  # bytes of a key
DIGITS = 16  # hexadecimal, of a pseudonym: two of a million patients share one with a chance of 3 in 10^8


def read_key(file: Path | None) -> bytes:
    """The key in a file, without the line break at its end; a new random one, kept nowhere, without a file.

    Raises:
        ValueError: if it is too short to keep a secret. OSError: if it cannot be read.
    """
    if file is None:
        return secrets.token_bytes(32)
    key = file.read_bytes().strip()
    if len(key) < LEAST:
        raise ValueError(
            f"--id_key {file}: it holds {len(key)} bytes, and at least {LEAST} random ones are needed: make it with "
            'python -c "import secrets; print(secrets.token_hex(32))"'
        )
    return key


def pseudonym(key: bytes, identifier: str) -> str:
    """16 hex digits for an identifier; whoever lacks the key can neither turn them back nor test a guess.

    Example:
        >>> pseudonym(b"0123456789abcdef", "MRN 17")
        'a1b8a297b1c53dcc'
    """
    return hmac.new(key, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:DIGITS]


def with_patients(inputs: Iterable[Input], key: bytes) -> list[Input]:
    """The inputs with a keyed hash as the patient of those whose files say whose they are, and that have none."""
    return [
        replace(one, patient=pseudonym(key, one.person)) if one.person and not one.patient else one for one in inputs
    ]
