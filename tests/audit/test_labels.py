"""Labels to look at again, on images of two looks of which some stand under the wrong label."""

import numpy as np
import pandas as pd

from brainmri.audit.label_errors import COLUMNS, pairs_to_see, suspicious_labels

COUNT = 80


def looks() -> tuple[pd.DataFrame, np.ndarray]:
    """Noisy images of two looks, one group each; rows 3 and 10 stand under the other label, and 3 has a copy."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(40, 216, (2, 8, 8)).repeat(8, 1).repeat(8, 2)
    images = np.stack([shapes[row % 2] + rng.normal(0, 25, (64, 64)) for row in range(COUNT)]).clip(0, 255)
    images = np.concatenate([images, images[3:4, :, ::-1]]).astype(np.uint8)
    rows = [*range(COUNT), 3]
    labels = [("a", "b")[(row + (row in (3, 10))) % 2] for row in rows]
    table = pd.DataFrame({"file_name": [f"{k}.png" for k in range(len(rows))], "label": labels})
    table["duplicate_id"] = table["group_id"] = [f"g{row}" for row in rows]
    return table, images


def test_wrong_labels_come_first_and_copies_do_not_vouch_for_each_other() -> None:
    table, images = looks()
    found = suspicious_labels(table, images)
    assert found["file_name"].tolist() == ["3.png", "10.png"]
    assert found["label"].tolist() == ["a", "b"]
    assert found["suggested"].tolist() == ["b", "a"]
    assert (found["confidence"] < 0.2).all()
    pairs = pairs_to_see(table, found, 1)
    assert [(one, table["label"][other]) for one, other in pairs] == [(3, "b")]


def test_few_images_and_one_label_say_nothing() -> None:
    table, images = looks()
    assert suspicious_labels(table[:20], images[:20]).empty
    assert suspicious_labels(table.assign(label="a"), images).columns.tolist() == COLUMNS
