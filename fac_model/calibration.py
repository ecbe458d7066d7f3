"""From a network's logit to the probability of synthetic speech."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Calibration:
    """An affine map of the logit, fitted on data that the network was not trained on.

    ``scale * logit + offset`` is the natural logarithm of the likelihood ratio synthetic : human. The fit
    gives both classes the same weight, so the probability holds where one call in two is synthetic; other
    prior log-odds are added to ``llr``.
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
        """Probabilities of synthetic speech in [0, 1], in the shape and type of ``logits``."""
        # tanh instead of exp: it cannot overflow.
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * self.llr(logits))), dtype=logits.dtype)

    @classmethod
    def fit(cls, logits: npt.ArrayLike, labels: npt.ArrayLike) -> Self:
        """Fit by logistic regression in which each class weighs one half.

        The targets are Platt's (1999), a little inside 0 and 1, which keeps the fit finite where the classes
        do not overlap.

        Args:
            logits: ``[N]``, finite.
            labels: ``[N]``, 1 or True for synthetic.

        Raises:
            ValueError: a class is missing, a logit is not finite, or higher logits go with human speech.
        """
        x = np.asarray(logits, dtype=np.float64)
        synthetic = np.asarray(labels).astype(bool)
        positives, negatives = int(synthetic.sum()), int((~synthetic).sum())
        if x.shape != synthetic.shape or x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError("calibration needs one finite logit and one label a clip")
        if not positives or not negatives:
            raise ValueError("calibration needs clips of both classes")
        targets = np.where(synthetic, (positives + 1) / (positives + 2), 1 / (negatives + 2))
        weights = np.where(synthetic, 0.5 / positives, 0.5 / negatives)
        spread = float(x.std()) or 1.0
        middle = float(x.mean())
        slope, intercept = _regress((x - middle) / spread, targets, weights)
        return cls(scale=slope / spread, offset=intercept - slope * middle / spread)


def _regress(x: Floats, targets: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and intercept of least weighted cross-entropy, by Newton's method with step halving."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    for _ in range(100):
        residual = weights * (0.5 * (1.0 + np.tanh(0.5 * design @ theta)) - targets)
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
    probability = 0.5 * (1.0 + np.tanh(0.5 * design @ theta))
    # The ridge keeps the matrix invertible when all logits are the same.
    hessian = design.T @ (design * (weights * probability * (1.0 - probability))[:, None]) + 1e-12 * np.eye(2)
    return np.asarray(hessian)


def _loss(design: Floats, theta: Floats, targets: Floats, weights: Floats) -> float:
    z = design @ theta
    return float(np.sum(weights * (np.logaddexp(0.0, z) - targets * z)))
