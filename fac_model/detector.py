"""Front end, network and calibration together: waveform in, calibrated score out."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fac_model.bundle import Bundle, BundleError
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.front_end import LogSpectrogram
from fac_model.network import build, outputs_of
from fac_model.quality import is_telephone

Samples = npt.NDArray[np.float32]


class Committee(nn.Module):
    """Front ends and networks that hear the same window, each in its own way; a logit is the mean of theirs.

    What errs differently errs less together, at the cost of all (Hansen and Salamon 1990).
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, wave: Tensor) -> Tensor:
        """``[B, window_samples]`` to logits ``[B, outputs]``."""
        return torch.stack([member(wave) for member in self.members]).mean(dim=0)


class Detector:
    """Scores batches of windows with torch; stateless between calls.

    Args:
        graph: front end and network, waveform to logits, on the device.
        calibration: logit to log-likelihood ratio.
        device: where it computes.
    """

    def __init__(self, graph: nn.Module, calibration: Calibration, device: str = "cpu") -> None:
        self.graph = graph.to(device).eval()
        self.calibration = calibration
        self.device = device

    @classmethod
    def load(cls, bundle: Bundle, device: str = "cpu") -> Self:
        """Build the networks that the bundle describes, on ``cpu`` or ``cuda``.

        Raises:
            BundleError: a network is unknown, has other outputs than the first, or other weights than these.
        """
        manifest = bundle.manifest
        weights = {name: torch.from_numpy(value) for name, value in bundle.tensors().items()}
        others = [_taken(weights, f"beside.{number}.") for number in range(len(manifest.beside))]
        try:
            graphs = [_graph(manifest.front_end, manifest.network, weights)]
            for number, (member, part) in enumerate(zip(manifest.beside, others, strict=True)):
                if outputs_of(member.network) != outputs_of(manifest.network):
                    raise ValueError(f"beside.{number} has other outputs than the first network")  # noqa: TRY301
                graphs.append(_graph(member.front_end, member.network, part))
        except (ValueError, RuntimeError) as error:
            raise BundleError(f"{bundle.path}: {error}") from error
        return cls(graphs[0] if len(graphs) == 1 else Committee(graphs), manifest.calibration, device)

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


def _graph(front_end: FrontEndConfig, config: NetworkConfig, weights: dict[str, Tensor]) -> nn.Module:
    # On the meta device nothing is allocated, however large the settings claim the network to be.
    with torch.device("meta"):
        network = build(config)
    network.load_state_dict(weights, strict=True, assign=True)
    return nn.Sequential(LogSpectrogram(front_end), network)


def _taken(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those under the prefix, by their own names, out of ``weights``."""
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights.pop(name) for name in names}
