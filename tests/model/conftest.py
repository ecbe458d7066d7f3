"""A network whose weights are made up by a rule, so that its numbers can be stored, and a bundle of it."""

import numpy as np
import pytest
import torch

from fac_model.bundle import Bundle
from fac_model.calibration import Affine, Calibration
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.network import build, weights_of


def ramp(shape, reach):
    """Values from -reach to reach, evenly spaced, in a fixed scattered order."""
    size = int(np.prod(shape))
    return torch.from_numpy(
        ((np.arange(size) * 7919 % size / size * 2 - 1) * reach).astype(np.float32)
    ).reshape(shape)


def ramped(config):
    """A network with ramps for weights."""
    network = build(config)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.ndim > 1:
                value.copy_(ramp(value.shape, (6.0 / value[0].numel()) ** 0.5))
            elif name.endswith(("running_var", "weight")):
                value.copy_(1.0 + ramp(value.shape, 0.5))
            elif value.dtype == torch.float32:
                value.copy_(ramp(value.shape, 0.2))
    return network.eval()


@pytest.fixture(scope="session")
def texture():
    """The texture network with ramps for weights."""
    return ramped(NetworkConfig(name="texture_cnn"))


@pytest.fixture(scope="session")
def network():
    """The default network with ramps for weights, scaled so that its logits differ by several units."""
    network = ramped(NetworkConfig())
    with torch.no_grad():
        network.head[-1].weight.mul_(30.0)
        network.head[-1].bias.fill_(-23.5)
    return network


@pytest.fixture
def fields(network):
    """What ``Bundle.save`` needs."""
    return {
        "name": "ramp",
        "version": "1.0",
        "front_end": FrontEndConfig(),
        "network": NetworkConfig(),
        "calibration": Calibration(Affine(0.5, -1.0), Affine(0.8, -0.5), prior_windows=2.0),
        "tensors": weights_of(network),
        "metrics": {"f1": 0.5},
        "training": {"clips": 2},
        "files": {"plots/roc.png": b"\x89PNG"},
    }


@pytest.fixture
def bundle(tmp_path, fields):
    """A bundle of the ramp network, without ONNX graph."""
    return Bundle.save(tmp_path / "ramp", **fields)


@pytest.fixture(scope="session")
def waves():
    """Digital silence and four voice-like sounds of falling level, ``[5, 32000]``."""
    rng = np.random.default_rng(1)
    time_s = np.arange(32_000) / 16_000
    sounds = [np.zeros(32_000)]
    for pitch_hz, level in ((100, 0.5), (150, 0.1), (220, 0.02), (310, 0.005)):
        glide = np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 1.5 * time_s))) / 16_000
        voice = sum(np.cos(2 * np.pi * glide * k) / k for k in range(1, 7_000 // pitch_hz))
        syllables = np.maximum(0.0, np.sin(2 * np.pi * 3 * time_s + pitch_hz))
        sounds.append(level * (0.4 * voice * syllables + 0.01 * rng.normal(size=32_000)))
    return np.stack(sounds).astype(np.float32)
