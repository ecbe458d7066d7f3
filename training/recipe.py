"""A training run as a file: every setting of ``fac train``, typed; unknown keys are refused."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fac_model.config import NetworkConfig
from fac_stream.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
AugmentationName = Literal[
    "time_mask",
    "frequency_mask",
    "gaussian_noise",
    "codec",
    "pitch_shift",
    "telephone",
    "gain",
    "noise",
]


class Recipe(BaseModel):
    """How a bundle is trained. Defaults are the predecessor's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")] = "1"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    front_end: Literal["default", "predecessor"] = "default"
    network: NetworkConfig = NetworkConfig()
    sampling: Literal["plain", "uniform", "paired"] = "plain"
    """See ``training.dataset.draw_order``."""
    windows_per_epoch: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """None for every training clip once."""
    augment: dict[AugmentationName, Share] = {}
    """Probability of each."""
    batch_size: Annotated[int, Field(ge=2, le=4096, multiple_of=2)] = 64
    epochs: Annotated[int, Field(ge=1, le=1000)] = 40
    learning_rate: Annotated[float, Field(gt=0.0, lt=1.0)] = 3e-4
    weight_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    schedule: Literal["plateau", "cosine"] = "plateau"
    """``plateau`` divides by ten in the fourth epoch without gain; ``cosine`` falls to zero at the last."""
    stop_patience: Annotated[int, Field(ge=1, le=1000)] = 5
    """Epochs without gain after which training ends."""
    choose_on: Literal["f1", "auc"] = "f1"
    """What a gain is, on dev; F1 at threshold 0.5 before calibration."""
    conditions: Annotated[tuple[Literal["wideband", "g711"], ...], Field(min_length=1)] = ("wideband",)
    """What dev is heard through when epochs are compared."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """``bf16`` computes the network in 16 bits and keeps the weights in 32."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML file.

        Raises:
            ConfigError: it cannot be read, or a key is unknown or has a bad value.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read the recipe {path}: {error}") from error
        except ValidationError as error:
            faults = [
                f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()
            ]
            raise ConfigError(f"{path}: " + "; ".join(faults)) from error
