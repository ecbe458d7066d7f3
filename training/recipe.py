"""A training run as a file: every setting of ``fac train``."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.network import outputs_of
from training.augment import IMAGE, WAVE
from training.channel import CONDITIONS
from training.copies import ENGINES
from training.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]
FigureName = Literal["f1", "auc", "eer", "holdout_auc", "holdout_eer"]


def _one_of(*names: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"{name!r} is not known; there are: {', '.join(names)}")
        return name

    return AfterValidator(check)


class Recipe(Settings):
    """How a bundle is trained. Defaults are the predecessor's; 0 switches off what it did not have."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")] = "1"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    front_end: Literal["default", "predecessor"] | FrontEndConfig = "default"
    """A preset, or the settings themselves."""
    network: NetworkConfig = NetworkConfig()

    sampling: Literal["plain", "uniform", "paired"] = "plain"
    """See ``training.dataset.draw_order``."""
    windows_per_epoch: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """None for every training clip once."""
    holdout: tuple[str, ...] = ()
    """Sources of the manifest that are kept out of training, to judge on beside dev."""
    copies: dict[Annotated[str, _one_of(*ENGINES)], Share] = Field(default_factory=dict)
    """Share of the pairs whose synthetic half is a copy of that very human by this engine."""
    copy_variants: Annotated[int, Field(ge=1, le=100)] = 2
    """How many different copies of a clip an engine makes."""
    nonspeech: Share = 0.0
    """Share of each batch that holds no speech; it trains the second output."""
    augment: dict[Annotated[str, _one_of(*WAVE, *IMAGE)], Share] = Field(default_factory=dict)
    """Probability of each."""
    shared_channel: Share = 1.0
    """Probability that a copy and its original pass the same augmentations: only the vocoder differs then."""
    shared_channel_pages: Share = 0.0
    """The same for the other pairs."""

    mixup: Annotated[float, Field(ge=0.0, le=10.0)] = 0.0
    """Both parameters of the Beta distribution of mixing weights (Zhang et al. 2018)."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """The classes aim at this half from 0 and 1."""
    taught: Share = 0.0
    """Share of each label that is what the teachers of ``fac train --teacher`` say."""
    hints: Annotated[int, Field(ge=0, le=1024)] = 0
    """Principal components of what a pretrained network notes, to be guessed, see ``training.hints``."""
    hint_weight: Annotated[float, Field(ge=0.0, le=100.0)] = 0.2
    """Weight of the mean squared error of these guesses."""
    speech_weight: Annotated[float, Field(ge=0.0, le=100.0)] = 0.2
    """Weight of the second output's loss, where the network has one."""
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Decay a step of the averaged weights that are judged and kept."""
    echo: Annotated[int, Field(ge=1, le=16)] = 1
    """Steps that each batch serves, see ``training.echo``; ``windows_per_epoch`` counts them all."""
    batch_size: Annotated[int, Field(ge=2, le=4096, multiple_of=2)] = 64
    """Of each process under torchrun."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 40
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 3e-4
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Steps in which the learning rate rises in a line from zero."""
    weight_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    clip_norm: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    """Length to which a longer gradient is cut."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """``plateau`` divides by ten in the fourth epoch without gain; ``cosine`` falls to zero at the last."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16`` computes the network in 16 bits and keeps the weights in 32."""

    conditions: Annotated[tuple[Annotated[str, _one_of(*CONDITIONS)], ...], Field(min_length=1)] = (
        "wideband",
    )
    """What dev is heard through when epochs are compared."""
    dev_every: Annotated[int, Field(ge=1, le=1000)] = 1
    """Epochs from one look at dev to the next; the last is always judged."""
    choose_on: FigureName = "f1"
    """What a gain is, on dev or the held-out sources; F1 at threshold 0.5 before calibration."""
    stop_patience: Annotated[int, Field(ge=1, le=1000)] = 5
    """Epochs without gain after which training ends; at least ``dev_every``."""
    workers: Annotated[int, Field(ge=0, le=256)] = 1
    """Processes that make batches ahead; 0 makes them between the steps. They do not change the result."""

    @property
    def trained_network(self) -> NetworkConfig:
        """The network, with one more output for each hint while it learns.

        Raises:
            ValueError: there is no such network, or its outputs are no count.
        """
        if not self.hints:
            return self.network
        outputs = outputs_of(self.network) + self.hints
        return NetworkConfig(name=self.network.name, settings={**self.network.settings, "outputs": outputs})

    @property
    def front_end_config(self) -> FrontEndConfig:
        """The settings, also where a preset is named."""
        if isinstance(self.front_end, FrontEndConfig):
            return self.front_end
        return FrontEndConfig.preset(self.front_end)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(self.copies.values()) > 1:
            raise ValueError("copies: the shares add up to more than 1")
        if self.copies and self.sampling == "plain":
            raise ValueError("copies stand beside their originals: set sampling to paired or uniform")
        if self.choose_on.startswith("holdout") and not self.holdout:
            raise ValueError(f"choose_on is {self.choose_on}, but holdout names no sources")
        if self.stop_patience < self.dev_every:
            raise ValueError("stop_patience is less than dev_every: training would end before dev is heard")
        if self.echo > 1 and self.sampling == "plain":
            raise ValueError("echo needs batches with their classes in the same rows: set sampling to paired")
        if round(self.nonspeech * self.batch_size / 2) * 2 >= self.batch_size:
            raise ValueError("nonspeech leaves no room for speech in a batch")
        return self
