"""Front end, network and calibration together: waveform in, calibrated score out."""

from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fac_model.bundle import Bundle, BundleError
from fac_model.calibration import Calibration
from fac_model.front_end import LogSpectrogram
from fac_model.network import build
from fac_model.quality import is_telephone

Samples = npt.NDArray[np.float32]


class Detector:
    """Scores batches of windows with torch; stateless between calls."""

    def __init__(self, front_end: LogSpectrogram, network: nn.Module, calibration: Calibration) -> None:
        self.graph = nn.Sequential(front_end, network).eval()
        self.calibration = calibration
        self.device = front_end.triangles.device

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the network that the bundle describes, on ``cpu`` or ``cuda``.

        Raises:
            BundleError: the network is unknown, or the weights are not those of this network.
        """
        manifest = bundle.manifest
        weights = {name: torch.from_numpy(value) for name, value in bundle.tensors().items()}
        try:
            # On the meta device nothing is allocated, however large the settings claim the network to be.
            with torch.device("meta"):
                network = build(manifest.network)
            network.load_state_dict(weights, strict=True, assign=True)
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{bundle.path}: {error}") from error
        front_end = LogSpectrogram(manifest.front_end)
        return cls(front_end.to(device), network.to(device), manifest.calibration)

    @torch.inference_mode()
    def logits(self, waves: Samples) -> Samples:
        """float32 ``[B, window_samples]``, full scale at ±1, to logits ``[B, outputs]``, uncalibrated.

        Raises:
            ValueError: the windows have another length.
        """
        # torch warns of arrays that it could not write to, as decoders make them.
        writable = np.require(waves, np.float32, ["C", "W"])
        result: Samples = self.graph(torch.from_numpy(writable).to(self.device)).cpu().numpy()
        return result

    def __call__(self, waves: Samples) -> Samples:
        """float32 ``[B, window_samples]`` to calibrated probabilities of synthetic speech, ``[B]``."""
        return self.calibration.probability(self.logits(waves)[:, 0], is_telephone(waves))
