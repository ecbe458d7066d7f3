"""What the daemon scores and what counts as an alert in a clip, with the defaults that it ships."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fac_model.calibration import Calibration
from fac_stream.config import Speech


@dataclass(frozen=True)
class Rules:
    """A bundle's calibration and the daemon's thresholds."""

    calibration: Calibration
    raise_at: float = 0.9
    """Probability from which a whole clip would be worth an alert; of calls, see ``calls.decision``."""
    min_speech_s: float = Speech().min_s
    """Seconds of speech, after silero-vad, that a window needs to be scored."""
    network_threshold: float = Speech().network_threshold
    """Probability of speech, after the network, below which a window is not scored."""

    @property
    def alert_llr(self) -> float:
        """The log-likelihood ratio of ``raise_at`` at even prior odds."""
        return _log_odds(self.raise_at)

    @property
    def speech_llr(self) -> float:
        """The log-likelihood ratio of ``network_threshold`` at even prior odds."""
        return _log_odds(self.network_threshold)

    def call_llr(self, llrs: Any) -> float:
        """Log-likelihood ratios of a call's windows ``[n]`` to the call's."""
        return self.calibration.call_llr(llrs)


def _log_odds(probability: float) -> float:
    floor = max(probability, 1e-9)
    return float(np.log(floor / (1.0 - floor)))
