"""Which MRI sequence a file says that it was made with: words of a fixed vocabulary, or echo and repetition times.

A file's free texts are looked through for these words alone; nothing else of them is kept or shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brainmri.io.dicom_elements import Element, Reader


T1_CONTRAST, T1_PLAIN, T1 = "T1 with contrast", "T1 without contrast", "T1"
T2, FLAIR, OTHER, UNKNOWN = "T2/PD", "FLAIR", "other", "unknown"
SEQUENCES = (T1_CONTRAST, T1_PLAIN, T1, T2, FLAIR, OTHER, UNKNOWN)
T1_KINDS = (T1_CONTRAST, T1_PLAIN, T1)

# The first of these that a text has a word of decides: a diffusion image is no T2, whatever its echo time.
OTHERS = frozenset(
    {
        *("DWI", "DTI", "ADC", "TRACE", "TRACEW", "DIFF", "DIFFUSION", "SWI", "SWAN", "T2*", "T2STAR", "HEMO", "TOF"),
        *("MRA", "MRV", "PWI", "PERF", "PERFUSION", "DSC", "DCE", "ASL", "BOLD", "FMRI", "EPI", "QSM", "CISS"),
        *("FIESTA", "MIP"),
    }
)
FLAIRS = frozenset({"FLAIR", "FLUID", "DARKFLUID", "T2FLAIR", "TIRM"})
T1S = frozenset(
    {
        *("T1", "T1W", "T1WI", "T1C", "T1CE", "T1GD", "T1POST", "T1PRE", "MPRAGE", "MP2RAGE", "BRAVO", "SPGR"),
        *("FSPGR", "VIBE", "THRIVE"),
    }
)
T2S = frozenset({"T2", "T2W", "T2WI", "PD", "PDW", "PDWI", "HASTE"})
AGENTS = frozenset({"GD", "GAD", "GADO", "GADOLINIUM", "CONTRAST", "CE", "C", "KM"})
WITH = frozenset(
    {
        *("GD", "+GD", "GAD", "GADO", "GADOLINIUM", "+C", "C+", "CE", "KM", "+KM", "CONTRAST", "T1C", "T1CE", "T1GD"),
        *("T1POST", "POSTCONTRAST"),
    }
)
WITHOUT = frozenset(
    {
        *("-C", "NATIVE", "NATIV", "PLAIN", "UNENHANCED", "NONCONTRAST", "PRECONTRAST", "T1PRE", "WITHOUT", "NO"),
    }
)

# ScanningSequence, SequenceName, AcquisitionContrast, ContrastBolusAgent, SeriesDescription, ProtocolName
SCANNING, NAME, ACQUISITION, AGENT = 0x00180020, 0x00180024, 0x00089209, 0x00180010
DESCRIPTIONS = (0x0008103E, 0x00181030)
REPETITION, ECHO, INVERSION = 0x00180080, 0x00180081, 0x00180082  # ms
ACQUISITIONS = {"T1": T1, "T2": T2, "PROTON_DENSITY": T2, "FLUID_ATTENUATED": FLAIR}
LONG_ECHO, LONG_REPETITION, SHORT_REPETITION, LONG_INVERSION = 60.0, 1800.0, 1200.0, 1500.0  # ms


def by_words(text: str) -> str:
    """The sequence that a text names, one of `SEQUENCES` but "unknown"; "" where it names none.

    "ax T1 +C" -> "T1 with contrast"; "sub-01_FLAIR" -> "FLAIR"; "ep2d_diff" -> "other". "Pre" and "post"
    count beside "T1" or an agent only, since they are said of operations too.
    """
    order = re.findall(r"(?<![A-Z0-9])-C(?![A-Z0-9])|[A-Z0-9+*]+", text.upper().replace("_", " "))
    words = set(order)
    if words & OTHERS:
        return OTHER
    if words & FLAIRS and not words & T1S:
        return FLAIR
    if not words & T1S:
        return T2 if words & T2S else ""
    given, left_out = words & WITH, words & WITHOUT
    for before, word, after in zip(["", *order], order, [*order[1:], ""], strict=False):
        if word in ("PRE", "POST") and (before in T1S or after in AGENTS):
            given, left_out = ({word}, set()) if word == "POST" else (set(), {word})
    return T1 if bool(given) == bool(left_out) else T1_CONTRAST if given else T1_PLAIN


def by_times(scanning: str, repetition: float | None, echo: float | None, inversion: float | None) -> str:
    """The sequence that its times (ms) make it; "" where they are missing or do not tell.

    scanning: DICOM's ScanningSequence, such as "SE", "GR", "SE\\IR".
    """
    kinds = set(scanning.upper().split("\\"))
    if "EP" in kinds:
        return OTHER
    if echo is None or repetition is None:
        return ""
    if "GR" in kinds:  # an inversion-prepared gradient echo; without one, echo and repetition tell too little
        return T1 if inversion and 400 <= inversion <= LONG_INVERSION and echo <= 10 else ""
    if inversion and inversion >= LONG_INVERSION:
        return FLAIR if echo >= LONG_ECHO else T1 if repetition < 4000 else ""
    if echo >= LONG_ECHO:
        return T2 if repetition >= LONG_REPETITION else ""
    if echo <= 35:
        return T1 if repetition <= SHORT_REPETITION else T2 if repetition >= LONG_REPETITION and not inversion else ""
    return ""


def of_dicom(reader: Reader, found: Mapping[int, Element]) -> str:
    """The sequence by the header of a DICOM file; "" where it does not say it.

    Words come first, since whoever named the series knew it; then what the scanner states, then the times.
    """

    def word(tag: int) -> str:
        return reader.word(found[tag]) if tag in found else ""

    def number(tag: int) -> float | None:
        return next(iter(reader.numbers(found[tag], "DS")), None) if tag in found else None

    named = by_words(" ".join(map(word, DESCRIPTIONS)))
    stated = ACQUISITIONS.get(word(ACQUISITION), "")
    times = by_times(word(SCANNING), number(REPETITION), number(ECHO), number(INVERSION))
    sequence = named or stated or times or by_words(word(NAME))
    return T1_CONTRAST if sequence == T1 and word(AGENT) else sequence


def of_description(text: str) -> str:
    """The sequence by the description in a NIfTI header, which may hold words or "TE=..;TR=..", or ""."""
    times = {key: float(value) for key, value in re.findall(r"\b(TE|TR|TI)=(\d+(?:\.\d+)?)", text.upper())[:10]}
    return by_words(text) or by_times("SE" if "TR" in times else "", times.get("TR"), times.get("TE"), times.get("TI"))
