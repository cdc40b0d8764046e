import numpy as np
import pytest
from safetensors.numpy import save_file

from brainmri.evaluation.ood.detector import ARRAYS, FIELDS, LOST_AT_MOST, OODDetector
from brainmri.schemas import OODRecord, Uncertainty, write


def seen(n, seed, *, dimensions=40, away=0.0, brighter=0.0):
    """Features (N, D), positive and correlated as a rectifier leaves them, and statistics (N, 7) of n images."""
    rng = np.random.default_rng(seed)
    *mixing, direction = np.random.default_rng(0).normal(size=(6, dimensions))
    features = 1 + rng.normal(size=(n, 5)) @ mixing + 0.2 * rng.normal(size=(n, dimensions)) + away * direction
    statistics = rng.normal(size=(n, 7)) * [20, 10, 5, 5, 0.1, 0, 0.05] + [50, 40, 10, 10, 0.5, 0, 0.1]
    statistics[:, 0] += brighter
    return np.maximum(features, 0), statistics, np.zeros(n, dtype=np.int64)


def fitted(train, validation):
    return OODDetector.fit("classifier", 1, train, validation)


@pytest.fixture
def rule():
    return fitted(seen(400, 1), seen(200, 2))


@pytest.mark.parametrize("n", [1, 7, 19, 20, 21, 200, 403])
def test_the_threshold_loses_at_most_its_share_of_the_validation_images(n):
    validation = seen(n, 2)
    rule = fitted(seen(400, 1), validation)
    lost = rule.rejected(rule.score(*validation)).sum()
    assert lost == int(LOST_AT_MOST * n)


def test_new_images_like_those_are_kept_and_others_refused_by_what_is_strange_in_them(rule):
    assert rule.rejected(rule.score(*seen(1000, 3))).mean() < 0.1
    for which, change in enumerate([{"away": 4.0}, {"brighter": 250.0}]):
        distances = rule.distances(*seen(200, 4, **change))
        assert (distances[:, which] > rule.threshold).mean() > 0.95
        assert (distances[:, 1 - which] > rule.threshold).mean() < 0.1
        assert np.array_equal(rule.score(*seen(200, 4, **change)), distances.max(1))


def test_features_on_which_numpys_decomposition_ends_are_fitted(monkeypatch):
    """The features of a real training made it "SVD did not converge", each time: the run could not be finished."""

    def unfit(*_args, **_kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    train, validation = seen(400, 1), seen(200, 2)
    expected = fitted(train, validation)
    monkeypatch.setattr(np.linalg, "svd", unfit)
    found = fitted(train, validation)
    np.testing.assert_array_equal(found.score(*validation), expected.score(*validation))
    centred = train[0] / np.linalg.norm(train[0], axis=1, keepdims=True)
    centred -= centred.mean(0)
    variances = np.linalg.eigvalsh(centred.T @ centred / len(centred))[::-1]
    kept = len(found.directions)
    np.testing.assert_allclose(found.deviations[:kept], np.sqrt(variances[:kept]), rtol=1e-4)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(kept), atol=1e-5)


def test_only_the_validation_images_move_the_threshold():
    train, strange = seen(400, 1), seen(200, 5, away=4.0, brighter=250.0)
    usual, lenient = (fitted(train, validation) for validation in (seen(200, 2), strange))
    ratio = usual.distances(*seen(50, 6)) / lenient.distances(*seen(50, 6))
    assert np.allclose(ratio, ratio[0])  # the same distances, in other units
    assert (ratio > 1.5).all()
    assert lenient.rejected(lenient.score(*strange)).mean() <= LOST_AT_MOST


def test_an_image_of_one_class_that_is_named_another_is_far_from_it():
    """The same image: usual for the class that it is of, too far for the other; one mean for both would keep it."""
    both = [np.concatenate(parts) for parts in zip(seen(400, 1), seen(400, 2, away=6.0), strict=True)]
    both[2] = np.repeat([0, 1], 400)
    rule = OODDetector.fit("classifier", 2, tuple(both), tuple(both))
    features, statistics, right = seen(200, 3)
    assert rule.rejected(rule.score(features, statistics, right)).mean() < 0.15
    assert rule.rejected(rule.score(features, statistics, right + 1)).mean() > 0.95


def test_a_class_without_training_images_and_one_that_is_never_named_give_numbers():
    features, statistics, named = seen(100, 1)
    rule = OODDetector.fit("classifier", 3, (features, statistics, named), (features, statistics, named))
    assert np.isfinite(rule.score(features, statistics, named + 2)).all()


def test_the_file_of_an_earlier_version_keeps_its_one_mean(tmp_path, reject_record):
    rule = fitted(seen(400, 1), seen(200, 2))
    arrays = {name: getattr(rule, name) for name in FIELDS if name != "means"} | {"mean": rule.means[0]}
    save_file(arrays, tmp_path / ARRAYS)
    record = OODRecord.model_validate(reject_record | {"layer": rule.layer, "threshold": rule.threshold})
    write(uncertainty_of(ood=record), tmp_path / "uncertainty.json")
    features, statistics, named = seen(50, 3)
    earlier = OODDetector.load(tmp_path)
    assert np.array_equal(earlier.score(features, statistics, named + 3), rule.score(features, statistics, named))


def test_a_tinge_of_colour_in_grey_images_is_not_strange(rule):
    features, statistics, named = seen(300, 9)
    statistics[:, 5] = 1.0  # as a JPEG that is saved in colour leaves it
    assert rule.rejected(rule.score(features, statistics, named)).mean() < 0.15
    statistics[:, 5] = 40.0
    assert rule.rejected(rule.score(features, statistics, named)).all()


def test_a_saved_rule_gives_equal_scores_from_small_files_without_pickle(rule, tmp_path, reject_record):
    rule.save(tmp_path)
    record = OODRecord.model_validate(reject_record | {"layer": rule.layer, "threshold": rule.threshold})
    write(uncertainty_of(ood=record), tmp_path / "uncertainty.json")
    again = OODDetector.load(tmp_path)
    new = seen(100, 7)
    assert np.array_equal(again.score(*new), rule.score(*new))
    assert np.array_equal(again.rejected(again.score(*new)), rule.rejected(rule.score(*new)))
    assert again.layer == "classifier"
    fitted(seen(300, 1, dimensions=2048), seen(50, 2, dimensions=2048)).save(tmp_path)
    assert (tmp_path / ARRAYS).stat().st_size < 1e6


def test_the_batch_does_not_matter(rule):
    features, statistics, named = seen(50, 8)
    one_by_one = [rule.score(features[[k]], statistics[[k]], named[[k]])[0] for k in range(50)]
    assert np.allclose(one_by_one, rule.score(features, statistics, named), rtol=1e-9)


@pytest.mark.parametrize(
    "features",
    [np.zeros((30, 6)), np.ones((30, 6)), np.eye(6)[:1], seen(3, 1)[0], seen(30, 1, dimensions=1)[0]],
    ids=["zeros", "constant", "one image", "fewer images than features", "one feature"],
)
def test_features_of_a_network_that_learnt_nothing_still_give_numbers(features):
    images = (features, np.full((len(features), 7), 3.0), np.zeros(len(features), dtype=np.int64))
    rule = fitted(images, images)
    assert np.isfinite(rule.score(*images)).all()
    assert np.isfinite(rule.score(features + 5, images[1] + 5, images[2])).all()
    assert rule.rejected(rule.score(*images)).mean() <= LOST_AT_MOST


def uncertainty_of(**parts):
    """Of a run without any other part."""
    keys = ("calibration", "conformal", "conformal_reason", "ood", "ood_reason")
    return Uncertainty(**dict.fromkeys(keys) | {"classes": ["a", "b"]} | parts)


def test_a_folder_without_a_rule_says_why(tmp_path):
    write(uncertainty_of(ood_reason="Two heads."), tmp_path / "uncertainty.json")
    with pytest.raises(ValueError, match=r"no OOD detector \(Two heads"):
        OODDetector.load(tmp_path)
