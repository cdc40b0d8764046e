"""Which class names cannot both be true of one image."""

from collections.abc import Collection

import pytest

from brainmri.data.class_names import contradictions

FOUR = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.mark.parametrize(
    ("vocabularies", "pairs"),
    [
        ((FOUR,), 6),
        ((FOUR, ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")), 24),
        ((FOUR, ("no", "yes")), 6 + 1 + 4),  # yes/no; yes/notumor; no/each tumour
        ((("glioma", "Glioma tumour", "Healthy", "normal"),), 4),  # one folder that mixes two vocabularies
        ((("lgg", "hgg"),), 1),
        ((("lgg",), ("hgg",)), 0),  # no data set tells them apart
        ((("a", "b"),), 1),
        ((("a", "b"), ("0", "1")), 2),  # what 0 means nobody knows
        ((("glioma or meningioma", "notumor"), ("glioma",)), 2),
        ((("glioma", "glioma"),), 0),
    ],
)
def test_contradictions(vocabularies: tuple[Collection[str], ...], pairs: int) -> None:
    found = contradictions(*vocabularies)
    assert len(found) == pairs, sorted(map(sorted, found))
