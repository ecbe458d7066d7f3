import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fac_model.calibration import Affine, Calibration

finite = st.floats(-1e6, 1e6)


def draw(clips, share, distance, spread, seed=0):
    """Logits of two equal Gaussians, whose log-likelihood ratio is 2 distance / spread² times the logit."""
    rng = np.random.default_rng(seed)
    labels = rng.random(clips) < share
    return rng.normal(np.where(labels, distance, -distance), spread), labels


@pytest.mark.parametrize("share", [0.5, 0.1, 0.9])
def test_fit_recovers_the_likelihood_ratio(share):
    """Whatever share of the clips is synthetic, scale and offset are those of the known distributions."""
    logits, labels = draw(clips=100_000, share=share, distance=1.0, spread=1.0)
    fitted = Affine.fit(3.0 * logits + 5.0, labels)
    assert fitted.scale == pytest.approx(2 / 3, rel=0.05)
    assert fitted.offset == pytest.approx(-10 / 3, rel=0.05)


@given(scale=st.floats(0.01, 100.0), offset=st.floats(-50.0, 50.0))
@settings(deadline=None)
def test_fit_does_not_depend_on_the_logits_units(scale, offset):
    """Stretching and shifting the logits before the fit gives the same probabilities."""
    logits, labels = draw(clips=500, share=0.3, distance=0.7, spread=1.0)
    plain = Affine.fit(logits, labels).probability(logits)
    moved = scale * logits + offset
    assert np.allclose(Affine.fit(moved, labels).probability(moved), plain, atol=1e-5)


def test_fit_is_the_best_of_its_neighbours():
    """No nearby scale or offset has a lower class-balanced cross-entropy."""
    logits, labels = draw(clips=2_000, share=0.2, distance=0.5, spread=1.0, seed=3)

    def loss(calibration):
        llr = calibration.llr(logits)
        return np.logaddexp(0, -llr[labels]).mean() + np.logaddexp(0, llr[~labels]).mean()

    best = Affine.fit(logits, labels)
    for scale, offset in ((1.1, 0), (0.9, 0), (1, 0.1), (1, -0.1)):
        assert loss(best) < loss(Affine(best.scale * scale, best.offset + offset))


def test_separated_classes_give_a_finite_fit():
    """Few clips without overlap do not claim certainty."""
    fitted = Affine.fit([-2.0, -1.0, 4.0, 5.0], [0, 0, 1, 1])
    assert 0.6 < float(fitted.probability(np.array(5.0))) < 0.99


@given(st.lists(finite, min_size=2, max_size=20), st.floats(1e-3, 1e3), finite)
@settings(deadline=None)
def test_probability_keeps_the_order(logits, scale, offset):
    """A higher logit never gets a lower probability; all lie in [0, 1]."""
    probabilities = Affine(scale, offset).probability(np.sort(np.array(logits)))
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_probability_is_the_logistic_function_of_the_ratio():
    """A ratio of ln 3 is three chances in four; shape and type stay."""
    logits = np.array([[0.0], [np.log(3.0)]], dtype=np.float32)
    probabilities = Affine(1.0, 0.0).probability(logits)
    assert probabilities.dtype == np.float32
    assert probabilities == pytest.approx(np.array([[0.5], [0.75]]), abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([1.0, 2.0], [1, 1], "both classes"),
        ([1.0, 2.0], [0, 0], "both classes"),
        ([], [], "both classes"),
        ([1.0, np.nan], [0, 1], "finite"),
        ([1.0, 2.0, 3.0], [0, 1], "one finite logit, label and weight"),
        ([3.0, 4.0, 1.0, 2.0], [0, 0, 1, 1], "positive scale"),
        ([1.0, 1.0], [0, 1], "positive scale"),
    ],
)
def test_data_without_an_answer_are_refused(logits, labels, message):
    """One class, missing numbers or a network that ranks the wrong way round cannot be calibrated."""
    with pytest.raises(ValueError, match=message):
        Affine.fit(logits, labels)


@pytest.mark.parametrize(("scale", "offset"), [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_maps_that_turn_the_ranking_are_refused(scale, offset):
    """Scale must be positive and both finite."""
    with pytest.raises(ValueError, match="positive scale"):
        Affine(scale, offset)


def test_a_weight_counts_like_as_many_windows():
    """A window of weight three moves the fit as three windows like it do."""
    logits, labels = draw(clips=4_000, share=0.4, distance=0.5, spread=1.0, seed=5)
    times = np.random.default_rng(6).integers(1, 4, len(logits))
    weighted = Affine.fit(logits, labels, times)
    repeated = Affine.fit(np.repeat(logits, times), np.repeat(labels, times))
    assert weighted.scale == pytest.approx(repeated.scale, rel=1e-2)
    assert weighted.offset == pytest.approx(repeated.offset, abs=1e-2)
    assert Affine.fit(logits, labels, 7.0 * times).scale == pytest.approx(weighted.scale, rel=1e-9)


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan]])
def test_weights_are_positive(weights):
    """Whoever wants a window left out leaves it out."""
    with pytest.raises(ValueError, match="positive weights"):
        Affine.fit([0.0, 1.0], [0, 1], weights)


BY_CHANNEL = Calibration(Affine(2.0, 1.0), Affine(0.5, -1.0), Affine(3.0, 0.0), prior_windows=2.0)


@given(st.lists(finite, min_size=1, max_size=20), st.integers(0, 2**20))
@settings(deadline=None)
def test_each_window_is_calibrated_for_its_channel(logits, channels):
    """A window gets the map of its own channel, whatever the others came over, and keeps its type."""
    logits = np.array(logits, np.float32)
    telephone = np.array([channels >> i & 1 == 1 for i in range(len(logits))])
    llr = BY_CHANNEL.llr(logits, telephone)
    assert llr.dtype == np.float32
    assert np.array_equal(llr[telephone], Affine(0.5, -1.0).llr(logits[telephone]))
    assert np.array_equal(llr[~telephone], Affine(2.0, 1.0).llr(logits[~telephone]))
    order = np.argsort(logits[telephone])
    assert (np.diff(BY_CHANNEL.probability(logits, telephone)[telephone][order]) >= 0).all()


def test_a_call_is_the_shrunk_mean_of_its_windows():
    """Two windows of a prior of two count half; a thousand count nearly whole; none say nothing."""
    assert BY_CHANNEL.call_llr(np.array([3.0, 5.0])) == pytest.approx(2.0)
    assert BY_CHANNEL.call_llr(np.full(1000, 4.0)) == pytest.approx(4.0, rel=2.1e-3)
    assert BY_CHANNEL.call_llr(np.array([])) == 0.0
    assert Calibration(prior_windows=0.0).call_llr(np.array([3.0])) == 3.0


@given(st.lists(finite, min_size=1, max_size=20), st.floats(0.0, 100.0))
@settings(deadline=None)
def test_the_prior_never_turns_a_call(llrs, prior_windows):
    """Shrinking keeps the side and adds no certainty."""
    mean = float(np.mean(llrs))
    shrunk = Calibration(prior_windows=prior_windows).call_llr(np.array(llrs))
    assert abs(shrunk) <= abs(mean)
    assert shrunk * mean >= 0.0


@pytest.mark.parametrize("prior_windows", [-1.0, np.nan, np.inf])
def test_a_prior_that_is_no_number_of_windows_is_refused(prior_windows):
    """Negative and infinite priors would turn calls round or silence them."""
    with pytest.raises(ValueError, match="prior_windows"):
        Calibration(prior_windows=prior_windows)
