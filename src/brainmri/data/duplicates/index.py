"""The pairs of images that look alike, by an index: time grows with the images, not with all pairs of them.

1. A sketch of 100 numbers for each image: its 96 strongest principal components, taken of each mirror part on its
   own so that a pose only changes their signs, and what they leave over of each of the four parts, as a length. By the
   inequality of Cauchy and Schwarz the dot product of two sketches is never below the correlation.
2. An inverted file (faiss): the sketches lie in cells of about 64, around the centres of a k-means; each image looks,
   in its four poses, into the 64 cells nearest to it, for sketches whose dot product reaches the threshold. These are
   the candidates.
3. The true correlation of each candidate.

So no pair is wrong, and a pair is missed only if the second image lies in none of the cells that the first looks
into: never up to 4,159 images, which make 64 cells. On the 7,023 images of the Kaggle set (109 cells) every pair at
or above 0.90, 0.95 and 0.98 was found and all but one of 155,566 at 0.85 (benchmarks.grouping, 2026-11-23).
More than about 4,000 images all alike fill more than 64 cells: each is still paired with thousands, but not with all.

All of it runs in one thread. So the same thumbnails give the same pairs, whatever the number of threads; and on macOS
the parallel parts of faiss, which crash beside torch's and scikit-learn's OpenMP (faiss-wheels issue 73), stay unused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from brainmri.data.duplicates.similarity import SIGNS, best_correlation, symmetry_components, turned_components

COMPONENTS = 96
FITTED = 20_000  # images the components are fitted on, at most
CELL = 64  # images in a cell, on average
CELLS_SEEN = 64
CELLS_SEEN_TURNED = 8
QUERIES = 256  # images looked up at once; bounds the memory
ROUNDING = 1e-3  # of the sketches' dot products; the exact correlation decides afterwards


def near_pairs(thumbnails: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs (i < j) whose best correlation over the four poses reaches `threshold`, each once, in no special order.

    Which pairs may be missing, and how few are, stands above. An image without any contrast correlates with nothing but
    other such images, with which its correlation counts as 1.

    Args:
        thumbnails: uint8, shape (N, 64, 64).
        threshold: 0..1. The number of pairs, hence time and memory (20 bytes for each), grow fast below 0.9.

    Returns:
        Three arrays of one length: i and j (int64), and the correlation (float32).
    """
    parts = symmetry_components(thumbnails)
    blocks = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for first, second in candidate_blocks(parts, threshold):
        correlation = best_correlation(parts, first, second)
        near = correlation >= threshold
        blocks.append((first[near], second[near], correlation[near]))
    first, second, correlation = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return first, second, correlation


def candidate_blocks(parts: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (i < j), each once, among which are those that `near_pairs` gives, before their correlation is known.

    On the Kaggle set they are 1.4 times as many as the true pairs at 0.98, 1.5 times at 0.95, 4.2 at 0.90, 5.7 at 0.85.
    They come in blocks, of 256 images with all theirs, so that memory does not grow with their number.

    Args:
        parts: of brainmri.data.duplicates.similarity.symmetry_components, shape (N, 4, 256).
        threshold: 0..1, of the correlation.

    Yields:
        i and j: int64, of one length.
    """
    if len(parts) == 0:
        return
    faiss = load_faiss()
    threads = ThreadpoolController()
    with threads.limit(limits=1):
        sketches, signs = _embeddings(parts, _spectra(parts))
        index = inverted_file(faiss, sketches, CELLS_SEEN)
        # Images of one cell look into nearly the same cells: one after the other, they find them in the cache.
        queries = np.argsort(index.quantizer.search(sketches, 1)[1][:, 0], kind="stable")
    # Both sketches have unit length, so that their distance tells their dot product.
    radius = 2 - 2 * (threshold - ROUNDING)
    for start in range(0, len(parts), QUERIES):
        block = sketches[queries[start : start + QUERIES]]
        poses = (block[:, None] * signs).reshape(-1, block.shape[1])
        with threads.limit(limits=1):
            limits, _, found = index.range_search(poses, radius)
        rows = queries[start + np.repeat(np.arange(len(poses)) // len(signs), np.diff(limits).astype(np.int64))]
        later = found > rows
        pairs = np.sort(rows[later] * len(parts) + found[later])
        # The same pair may be found in several poses. (np.unique hashes, which is slow for millions of such numbers.)
        yield np.divmod(pairs[np.diff(pairs, prepend=-1) > 0], len(parts))


def turned_blocks(parts: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `candidate_blocks`, of images turned by 90 or 270 degrees, perhaps mirrored, or inverted, or both.

    Only images that are nearly the same have a correlation near 1 (above 0.9, say) in such a pose, and their sketches
    then lie close together: a few cells are looked into.
    """
    if len(parts) == 0:
        return
    faiss = load_faiss()
    threads = ThreadpoolController()
    with threads.limit(limits=1):
        spectra = _spectra(parts)
        sketches, signs = _embeddings(parts, spectra)
        turned, _ = _embeddings(turned_components(parts), spectra)
        index = inverted_file(faiss, sketches, CELLS_SEEN_TURNED)
    negative = signs.copy()
    negative[:, : -len(SIGNS)] *= -1  # all but the lengths, which have no sign
    radius = 2 - 2 * (threshold - ROUNDING)
    for start in range(0, len(parts), QUERIES):
        block, across = (these[start : start + QUERIES, None] for these in (sketches, turned))
        poses = np.concatenate([block * negative, across * signs, across * negative], axis=1)
        with threads.limit(limits=1):
            limits, _, found = index.range_search(poses.reshape(-1, poses.shape[2]), radius)
        rows = start + np.repeat(
            np.arange(poses.shape[0] * poses.shape[1]) // poses.shape[1], np.diff(limits).astype(np.int64)
        )
        later = found > rows
        yield np.divmod(np.unique(rows[later] * len(parts) + found[later]), len(parts))


def load_faiss() -> Any:
    # Imported late: only who groups images needs it. On macOS faiss, torch and scikit-learn bring an OpenMP library
    # each, and the second one to start ends the process unless this is set.
    if sys.platform == "darwin":
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    import faiss

    return faiss


def _spectra(parts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    sample = parts[:: -(-len(parts) // FITTED)]
    found = [np.linalg.eigh(sample[:, kind].T @ sample[:, kind]) for kind in range(4)]
    return [(values, vectors) for values, vectors in found]


def _embeddings(parts: np.ndarray, spectra: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """float32 (N, COMPONENTS + 4), and the signs (4, COMPONENTS + 4) that turn a sketch into those of its poses.

    spectra: of `_spectra`, of these images or of those that they are compared with.
    """
    strength = np.concatenate([values for values, _ in spectra])
    kinds = np.repeat(np.arange(4), parts.shape[2])
    strongest = np.argsort(-strength, kind="stable")[:COMPONENTS]
    columns, lengths, signs = [], [], []
    for kind, (_, vectors) in enumerate(spectra):
        chosen = strongest[kinds[strongest] == kind] - kind * parts.shape[2]
        projected = parts[:, kind] @ vectors[:, chosen]
        columns.append(projected)
        whole = np.einsum("np,np->n", parts[:, kind], parts[:, kind])
        lengths.append(np.sqrt(np.maximum(whole - np.einsum("nc,nc->n", projected, projected), 0)))
        signs.append(np.repeat(SIGNS[:, kind : kind + 1], len(chosen), axis=1))
    signs.append(np.ones((len(SIGNS), 4), dtype=np.float32))  # a length has no sign
    return np.ascontiguousarray(np.column_stack([*columns, *lengths])), np.concatenate(signs, axis=1)


def inverted_file(faiss: Any, sketches: np.ndarray, cells_seen: int, cell: int = CELL) -> Any:
    """cell: sketches in a cell, on average, of which a search looks into `cells_seen`."""
    width = sketches.shape[1]
    cells = max(1, len(sketches) // cell)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, cells)
    index.cp.niter = 10
    index.cp.min_points_per_centroid = 1  # fewer are no reason for a warning on stderr
    index.cp.seed = 1
    index.train(sketches)
    index.add(sketches)
    index.nprobe = min(cells_seen, cells)
    return index
