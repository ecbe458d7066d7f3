"""From a network's logits to likelihood ratios and probabilities, by channel; from windows to a call."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Affine:
    """An affine map of a logit, fitted on data that the network was not trained on.

    ``scale * logit + offset`` is the natural logarithm of a likelihood ratio, synthetic : human or
    speech : none. The fit gives both classes the same weight, so the probability holds where one window in
    two is positive; other prior log-odds are added to ``llr``.
    """

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would turn the ranking of the network round, or is no number.

        Raises:
            ValueError: scale is not positive, or one of both is not finite.
        """
        if not (np.isfinite(self.scale) and np.isfinite(self.offset) and self.scale > 0):
            raise ValueError(
                f"a calibration needs a positive scale and finite values, not {self.scale}, {self.offset}"
            )

    def llr(self, logits: Floats) -> Floats:
        """Log-likelihood ratios, natural logarithm, in the shape and type of ``logits``."""
        return np.asarray(logits * self.scale + self.offset, dtype=logits.dtype)

    def probability(self, logits: Floats) -> Floats:
        """Probabilities of the positive class in [0, 1], in the shape and type of ``logits``."""
        return probability(self.llr(logits))

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit by logistic regression in which each class weighs one half.

        The targets are Platt's (1999), a little inside 0 and 1, which keeps the fit finite where the classes
        do not overlap.

        Args:
            logits: ``[N]``, finite.
            labels: ``[N]``, 1 or True for the positive class.
            weights: ``[N]``, positive: what each counts for within its class; all alike without.

        Raises:
            ValueError: a class is missing, a logit is not finite, a weight not positive, or higher logits go
                with the negative class.
        """
        x = np.asarray(logits, dtype=np.float64)
        positive = np.asarray(labels).astype(bool)
        share = np.ones(x.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        if not x.shape == positive.shape == share.shape or x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError("calibration needs one finite logit, label and weight a window")
        if not (np.isfinite(share) & (share > 0)).all():
            raise ValueError("calibration needs positive weights")
        positives, negatives = int(positive.sum()), int((~positive).sum())
        if not positives or not negatives:
            raise ValueError("calibration needs windows of both classes")
        targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
        share = 0.5 * share / np.where(positive, share[positive].sum(), share[~positive].sum())
        spread = float(x.std()) or 1.0
        middle = float(x.mean())
        slope, intercept = _regress((x - middle) / spread, targets, share)
        return cls(scale=slope / spread, offset=intercept - slope * middle / spread)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a network's logits mean: for synthetic speech by channel, for speech, and for a whole call.

    One map for all channels would put the threshold that fits wideband where most people on a telephone are
    called synthetic: the channel moves the logits more than the voice does.
    """

    wideband: Affine = Affine()
    telephone: Affine = Affine()
    """For windows that ``fac_model.quality.is_telephone`` finds empty above 4 kHz."""
    speech: Affine | None = None
    """For the second logit, where the network has one."""
    prior_windows: float = 0.0
    """How many windows of no evidence the mean of a call is shrunk by; 0 for a plain mean.

    Windows that overlap count each, so the mean of a call with a short hop is shrunk less.
    """

    def __post_init__(self) -> None:
        """Refuse a prior that is no number of windows.

        Raises:
            ValueError: it is negative or not finite.
        """
        if not (np.isfinite(self.prior_windows) and self.prior_windows >= 0):
            raise ValueError(f"prior_windows must be 0 or more, not {self.prior_windows}")

    def llr(self, logits: Floats, telephone: npt.NDArray[np.bool_]) -> Floats:
        """Log-likelihood ratios synthetic : human, natural logarithm.

        Args:
            logits: ``[N]``, the network's first output.
            telephone: ``[N]``, which windows came over a narrow channel.
        """
        return np.where(telephone, self.telephone.llr(logits), self.wideband.llr(logits))

    def probability(self, logits: Floats, telephone: npt.NDArray[np.bool_]) -> Floats:
        """Probabilities of synthetic speech in [0, 1], ``[N]``; arguments as for ``llr``."""
        return probability(self.llr(logits, telephone))

    def call_llr(self, llrs: Floats) -> float:
        """The log-likelihood ratio of a call, from its windows' ``[n]``: their mean, shrunk towards 0.

        The windows of a call share voice, room and line, so their sum would claim far more than they know;
        the mean of few is less sure than that of many. No windows are no evidence: 0.
        """
        n = len(llrs)
        return float(np.mean(llrs)) * n / (n + self.prior_windows) if n else 0.0


def probability(llrs: Floats) -> Floats:
    """Probabilities at even prior odds of log-likelihood ratios, in their shape and type."""
    # tanh instead of exp: it cannot overflow.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * llrs)), dtype=llrs.dtype)


def _regress(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of least weighted cross-entropy, by Newton's method with step halving."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    for _ in range(100):
        residual = weights * (probability(design @ theta) - targets)
        gradient = design.T @ residual
        if np.abs(gradient).max() < 1e-10:
            break
        step = np.linalg.solve(_curvature(design, theta, weights), gradient)
        before = _loss(design, theta, targets, weights)
        while _loss(design, theta - step, targets, weights) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        theta = theta - step
    return float(theta[0]), float(theta[1])


def _curvature(design: Floats, theta: Floats, weights: Floats) -> Floats:
    chance = probability(design @ theta)
    # The ridge keeps the matrix invertible when all logits are the same.
    hessian = design.T @ (design * (weights * chance * (1.0 - chance))[:, None]) + 1e-12 * np.eye(2)
    return np.asarray(hessian)


def _loss(design: Floats, theta: Floats, targets: Floats, weights: Floats) -> float:
    z = design @ theta
    return float(np.sum(weights * (np.logaddexp(0.0, z) - targets * z)))
