"""Series of slices told by the numbers in their file names, on likenesses made here."""

import numpy as np

from brainmri.data.duplicates.grouping import pairs_apart, sequence_pairs

PATIENTS, SLICES = 150, 4


def series(rng: np.random.Generator, mixed: float) -> np.ndarray:
    """Unit vectors (600, 4, 256), four of each patient in turn: those of one patient have a likeness of 1 - mixed."""
    patient = rng.normal(size=(PATIENTS, 1, 1024)).repeat(SLICES, axis=1).reshape(-1, 1024)
    vectors = np.sqrt(1 - mixed) * patient + np.sqrt(mixed) * rng.normal(size=patient.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).reshape(-1, 4, 256).astype(np.float32)


def found(names: list[str], structure: np.ndarray) -> set[tuple[int, int]]:
    rows = np.arange(len(names))
    first, second = sequence_pairs(names, rows, structure, rows, 0.58)
    return {(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}


def test_neighbours_in_a_series_are_found_though_hardly_alike() -> None:
    structure = series(np.random.default_rng(0), 0.65)
    pairs = found([f"glioma/Tr-gl_{number:04d}.jpg" for number in range(len(structure))], structure)
    same = {(i, i + d) for i in range(len(structure)) for d in (1, 2) if i // SLICES == (i + d) // SLICES < PATIENTS}
    assert len(pairs & same) > 0.95 * len(same)
    assert len(pairs - same) < 0.02 * len(pairs)


def test_numbers_that_mean_nothing_link_nothing() -> None:
    rng = np.random.default_rng(0)
    structure = series(rng, 0.65)[rng.permutation(PATIENTS * SLICES)]
    assert found([f"{number}.png" for number in range(len(structure))], structure) == set()


def test_too_few_to_tell_and_names_without_numbers_link_nothing() -> None:
    structure = series(np.random.default_rng(0), 0.65)
    assert found([f"{number}.png" for number in range(12)], structure[:12]) == set()
    assert found([f"slice{'x' * number}.png" for number in range(50)], structure[:50]) == set()
    assert found([], structure[:0]) == set()


def test_no_series_runs_through_two_folders_or_two_prefixes() -> None:
    structure = series(np.random.default_rng(0), 0.65)
    names = [f"{'ab'[number % 2]}/{number}.png" for number in range(len(structure))]
    assert {(i % 2, j % 2) for i, j in found(names, structure)} <= {(0, 0), (1, 1)}
    first, second = pairs_apart(["s1_t2.png", "s1_t3.png", "s2_t3.png", "s1_t3_b.png"], np.arange(4), [1])
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1)]
    first, _ = pairs_apart([f"train_data.npz#{row}" for row in range(4)], np.arange(4), [1])
    assert len(first) == 3


def test_copies_of_one_image_say_nothing_about_numbers() -> None:
    rng = np.random.default_rng(0)
    images = series(rng, 1.0)[:300]
    structure = images.repeat(2, axis=0)  # each image twice, one after the other; patients unrelated
    names = [f"{number}.png" for number in range(600)]
    first, _ = sequence_pairs(names, np.arange(600), structure, np.arange(600) // 2, 0.58)
    assert len(first) == 0
