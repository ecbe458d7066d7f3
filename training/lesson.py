"""What a training step is given: images, and what the network is to answer to each."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from training.hints import Hints
from training.mixture import Batch
from training.teachers import Teachers

PIECE = 8
"""Windows that a CPU makes images of at a time. Measured on one core: 2.1 ms a window, 4.7 in batches of 64,
which do not fit into its cache."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A batch as the network sees it."""

    images: Tensor
    """``[B, channels, bands, frames]``."""
    synthetic: Tensor
    """``[B]``, 0 to 1; without meaning where there is no speech."""
    speech: Tensor
    """``[B]``, 0 or 1."""
    hints: Tensor
    """``[B, H]``, NaN where there are none."""

    def disguised(self, batch: Batch) -> "Lesson":
        """The same under the masks of ``batch``, and mixed as it says."""
        stripes, partner, kept = (
            torch.from_numpy(part).to(self.images.device)
            for part in (batch.stripes, batch.partner, batch.kept)
        )
        hidden = replace(self, images=masked(self.images, stripes))
        if not (batch.kept < 1.0).any():
            return hidden
        return replace(
            hidden,
            images=_mixed(hidden.images, partner, kept),
            synthetic=_mixed(self.synthetic, partner, kept),
            hints=_mixed(self.hints, partner, kept),
        )


@dataclass(frozen=True)
class Lessons:
    """Makes them of batches."""

    front_end: nn.Module
    """Waves to images."""
    teachers: Teachers
    hints: Hints
    device: torch.device

    @torch.no_grad()
    def of(self, batch: Batch) -> Lesson:
        """Undisguised: teachers hear all of a window."""
        waves, synthetic, speech = (
            torch.from_numpy(part).to(self.device) for part in (batch.waves, batch.synthetic, batch.speech)
        )
        pieces = torch.split(waves, PIECE if self.device.type == "cpu" else len(waves))
        images = torch.cat([self.front_end(piece) for piece in pieces])
        hints = self.hints.look_up(torch.from_numpy(batch.clips)).to(self.device)
        return Lesson(images, self.teachers.label(images, synthetic), speech, hints)


def masked(images: Tensor, stripes: Tensor) -> Tensor:
    """Each image ``[B, channels, bands, frames]`` with its mean where ``Batch.stripes`` lie."""
    frames = _covered(stripes[:, 0], images.shape[-1])
    bands = _covered(stripes[:, 1], images.shape[-2])
    hidden = (frames[:, None, :] | bands[:, :, None])[:, None]
    return torch.where(hidden, images.mean(dim=(-1, -2), keepdim=True), images)


def _covered(stripes: Tensor, size: int) -> Tensor:
    """Which of ``size`` lines lie in one of the stripes ``[B, S, 2]``, bool ``[B, size]``."""
    starts, widths = stripes[..., 0], stripes[..., 1]
    first = torch.round(starts * (size - widths).clamp(min=0))[..., None]
    line = torch.arange(size, device=stripes.device)
    return ((line >= first) & (line < first + widths[..., None])).any(dim=1)


def _mixed(values: Tensor, partner: Tensor, kept: Tensor) -> Tensor:
    """Each row, as much as it keeps of itself, and of its partner the rest."""
    own = kept.reshape(-1, *(1 for _ in values.shape[1:]))
    # What keeps all of itself keeps it also beside a partner that has no hints.
    return torch.where(own < 1.0, own * values + (1.0 - own) * values[partner], values)
