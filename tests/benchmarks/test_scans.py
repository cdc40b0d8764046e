"""What a network says of slices of scans without a lesion."""

import pandas as pd
import pytest

from benchmarks.scans import of_scans


def test_patients_slices_are_told_apart_and_healthy_ones_are_counted_by_height() -> None:
    """A patient of two lesions and two other slices; two healthy people of 3 and 6 slices; one seen from the side."""
    rows = [
        *[("a#axial-0007", "glioma", 0.9), ("a#axial-0008", "glioma", 0.4)],
        *[("a#axial-0001", "healthy", 0.6), ("a#axial-0012", "healthy", 0.1)],
        *[(f"b#axial-{k:04d}", "healthy", 0.9 if k == 5 else 0.2) for k in (5, 6, 7)],
        *[(f"c#axial-{k:04d}", "healthy", 0.9 if k < 2 or k == 5 else 0.2) for k in range(6)],
        ("b#sagittal-0001", "healthy", 0.9),
    ]
    index = pd.DataFrame(rows, columns=["source", "label", "p_glioma"]).assign(file_name=lambda t: t["source"] + ".png")
    predictions = index.drop(columns="source").assign(
        group_id=index["source"].str[0],
        predicted=["glioma" if value > 0.5 else "healthy" for value in index["p_glioma"]],
        p_healthy=1 - index["p_glioma"],
    )
    found = of_scans(index[["file_name", "source"]], predictions.sample(frac=1, random_state=0), "healthy")
    found = found.set_index("measure")
    assert found["slices"].to_dict() == {
        "found": 2,
        "left_alone_same_patients": 2,
        "auroc_same_patients": 4,
        "left_alone_lowest": 3,
        "left_alone_middle": 3,
        "left_alone_highest": 3,
    }
    assert found["value"].to_dict() == pytest.approx(
        {
            "found": 0.5,
            "left_alone_same_patients": 0.5,
            "auroc_same_patients": 0.75,
            "left_alone_lowest": 0,
            "left_alone_middle": 1,
            "left_alone_highest": 2 / 3,
        }
    )
    assert (found["low"].dropna() <= found["value"][found["low"].notna()]).all()
