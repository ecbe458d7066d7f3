"""Figures of a network on clips it is not trained on: what epochs are compared by."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fac_model.front_end import LogSpectrogram
from fac_stream.audio.frames import Samples
from fac_stream.errors import FacError
from training.channel import CONDITIONS
from training.checkpoint import Row
from training.dataset import Corpus, windows
from training.manifest import Label, ManifestError, Split
from training.metrics import figures
from training.recipe import Recipe

BATCH = 64
MOST = 4_000
"""Clips of a part; of more, as many are taken evenly: their images are kept in memory, 50 kB each."""


class Judge:
    """Hears one window of each clip of dev, and of the held-out sources, under the recipe's conditions.

    Raises:
        ManifestError: a part lacks a class.
    """

    def __init__(self, settings: Recipe, front_end: LogSpectrogram, corpus: Corpus) -> None:
        self.settings = settings
        self.front_end = front_end
        self.parts = {"dev": corpus.speech(Split.DEV)}
        if settings.holdout:
            held = corpus.speech(Split.TRAIN).without(settings.holdout)[1]
            if len({clip.label for clip in held.clips}) < 2:
                raise ManifestError("the sources of holdout need clips of both classes, taken together")
            self.parts["holdout"] = held
        self.parts["nonspeech"] = corpus.part(Split.DEV, Label.NONSPEECH)
        self.parts = {name: part.thinned(MOST) for name, part in self.parts.items()}
        self._kept: dict[tuple[str, str], list[Tensor]] = {}

    def figures(self, network: nn.Module) -> Row:
        """Each the mean over the conditions.

        ``dev_loss``, ``dev_accuracy``, ``dev_f1``, ``dev_auc`` and ``dev_eer``; with held-out sources also
        ``holdout_auc`` and ``holdout_eer``; with a second output also ``dev_speech_eer``.

        Raises:
            FacError: the network answers NaN.
        """
        network.eval()
        rows = [self._row(network, condition) for condition in self.settings.conditions]
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _row(self, network: nn.Module, condition: str) -> Row:
        dev, labels = self._logits(network, "dev", condition), self._labels("dev")
        found = figures(labels, dev[:, 0])
        loss = float(np.mean(np.logaddexp(0.0, np.where(labels, -dev[:, 0], dev[:, 0]))))
        row = {"dev_loss": loss, **{f"dev_{name}": found[name] for name in ("accuracy", "f1", "auc", "eer")}}
        if "holdout" in self.parts:
            held = figures(self._labels("holdout"), self._logits(network, "holdout", condition)[:, 0])
            row |= {"holdout_auc": held["auc"], "holdout_eer": held["eer"]}
        if dev.shape[1] > 1 and self.parts["nonspeech"].clips:
            other = self._logits(network, "nonspeech", condition)[:, 1]
            spoken = np.repeat([True, False], [len(dev), len(other)])
            row["dev_speech_eer"] = figures(spoken, np.concatenate([dev[:, 1], other]))["eer"]
        return row

    def _labels(self, part: str) -> npt.NDArray[np.bool_]:
        return np.array([clip.label == Label.FAKE for clip in self.parts[part].clips])

    @torch.inference_mode()
    def _logits(self, network: nn.Module, part: str, condition: str) -> Samples:
        """``[clips, outputs]``."""
        device = next(network.parameters()).device
        rows = [
            forward(network, images.to(device).float(), self.settings.precision).cpu().numpy()
            for images in self._images(part, condition)
        ]
        logits = np.concatenate(rows)
        logits = logits[:, : logits.shape[1] - self.settings.hints]  # the others guess hints
        if not np.isfinite(logits).all():
            raise FacError("training diverged: the network answers NaN; lower learning_rate in the recipe")
        return logits

    def _images(self, part: str, condition: str) -> list[Tensor]:
        """Batches of float16 images; they are the same every epoch, so they are made once."""
        if (part, condition) not in self._kept:
            pcm = self.parts[part].pcm
            device = next(self.front_end.buffers()).device
            kept = []
            for first in range(0, len(pcm), BATCH):
                numbers = range(first, min(first + BATCH, len(pcm)))
                waves = CONDITIONS[condition](np.concatenate([windows(pcm[number], 1) for number in numbers]))
                kept.append(self.front_end(torch.from_numpy(waves).to(device)).half().cpu())
            self._kept[part, condition] = kept
        return self._kept[part, condition]


def forward(network: nn.Module, images: Tensor, precision: str) -> Tensor:
    """Images ``[B, channels, bands, frames]`` to float32 logits ``[B, outputs]``, in a precision."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = network(images.contiguous(memory_format=torch.channels_last))
    return logits.float().reshape(len(images), -1)
