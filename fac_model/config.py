"""Settings of the front end and the network, as a bundle stores them; no torch."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Setting = int | float | bool | str | list[int]


class FrontEndConfig(BaseModel):
    """How a window becomes an image.

    The default gives 128x200 for 2 s: a hop of 10 ms and (n_fft - hop) / 2 samples of padding on each side::

        padding  |<----------- 32000 samples ----------->|  padding
        432 |....|=======================================|....| 432
            [ frame 0: 1024 ]                 [ frame 199: 1024 ]
              [ frame 1 ]      each 160 samples after the last

    Every frame is then centred on its own hop, so the image covers the window evenly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample_rate: Literal[16_000] = 16_000
    """Hertz."""
    window_samples: Literal[32_000] = 32_000
    n_fft: Annotated[int, Field(ge=64, le=4096, multiple_of=4)] = 1024
    """Samples; the Hann window is as long."""
    hop_length: Annotated[int, Field(ge=16, le=4096)] = 160
    """Samples."""
    padding: Annotated[int, Field(ge=0, le=2048)] = 432
    """Samples on each side."""
    padding_mode: Literal["reflect", "constant"] = "reflect"
    """Reflection keeps the level at the edges; zeros would put a step, and so a click, into every window."""
    scale: Literal["mel", "linear", "log"] = "mel"
    """How the bands are spaced; see ``fac_model.front_end.band_edges``."""
    bands: Annotated[int, Field(ge=8, le=256)] = 128
    """Rows of the image."""
    f_min: Annotated[float, Field(ge=0.0, lt=8_000.0)] = 20.0
    """Hertz; above the two bins into which the Hann window spreads a DC offset."""
    f_max: Annotated[float, Field(gt=0.0, le=8_000.0)] = 8_000.0
    """Hertz."""
    top_db: Annotated[float, Field(gt=0.0, le=120.0)] = 80.0
    """Decibels below the window's loudest point at which the image is cut off."""

    @property
    def frames(self) -> int:
        """Columns of the image."""
        return (self.window_samples + 2 * self.padding - self.n_fft) // self.hop_length + 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.f_min >= self.f_max:
            raise ValueError("f_min must lie below f_max")
        if self.padding >= self.window_samples or self.n_fft > self.window_samples:
            raise ValueError("padding and n_fft must be shorter than the window")
        if self.scale == "log":
            if self.f_min == 0.0:
                raise ValueError("the scale log needs an f_min above 0")
            if (self.bands + 1) * self.sample_rate / self.n_fft > self.f_max - self.f_min:
                raise ValueError("so many bands of the scale log need a larger n_fft")
        return self

    @classmethod
    def preset(cls, name: Literal["default", "predecessor"]) -> "FrontEndConfig":
        """Named settings: ``default`` is 128x200, ``predecessor`` the hop of 256 with its 126 frames."""
        if name == "default":
            return cls()
        return cls(hop_length=256, padding=512, padding_mode="constant", f_min=0.0)


class NetworkConfig(BaseModel):
    """Which network of the registry in ``fac_model.network``, and its keyword arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = "spectrogram_cnn"
    settings: Annotated[dict[str, Setting], Field(max_length=32)] = {}


class MemberConfig(BaseModel):
    """A network and the front end that it hears through."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    front_end: FrontEndConfig
    network: NetworkConfig
