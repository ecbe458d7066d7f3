import numpy as np
import pytest
import torch

from fac_model.config import NetworkConfig
from fac_model.front_end import LogSpectrogram
from fac_model.network import NETWORKS, build, weights_of, without_colour

LOGITS = [0.7523, 1.5523, 0.0173, 2.3333, -3.4777]
TEXTURE = [[-0.2018, 0.0021], [-0.0260, 0.2689], [-0.1220, 0.4029], [-0.2360, 0.3327], [-0.5617, 0.6214]]


def test_predecessors_network_has_its_parameters():
    """The blocks 32-64-128-256 and the head 256-128-1 have 421,825 parameters."""
    assert sum(value.numel() for value in build(NetworkConfig()).parameters()) == 421_825


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("frames", [200, 126])
def test_one_row_of_logits_an_image(name, frames):
    """Every network takes the images of both presets and gives one row of logits for each."""
    for outputs in (1, 2):
        network = build(NetworkConfig(name=name, settings={"outputs": outputs})).eval()
        assert network(torch.zeros(3, 1, 128, frames)).shape == (3, outputs)
        assert network(torch.zeros(1, 1, 128, frames)).shape == (1, outputs)


def test_without_colour_a_fixed_filter_falls_out():
    """What adds the same to a band at all times, and what scales all decibels, changes nothing."""
    image = torch.randn(2, 1, 128, 200)
    filtered = 3.0 * image + torch.randn(2, 1, 128, 1)
    assert (without_colour(filtered) - without_colour(image)).abs().max() < 1e-4
    assert not without_colour(torch.ones(1, 1, 128, 200)).any()


def test_logits_are_what_they_were(network, waves):
    """The numbers are stored: whoever changes them makes every bundle in use score differently."""
    logits = network(LogSpectrogram()(torch.from_numpy(waves))).detach().numpy()[:, 0]
    assert np.abs(logits - LOGITS).max() < 2e-3


def test_texture_logits_are_what_they_were(texture, waves):
    """As above, both outputs of the texture network."""
    logits = texture(LogSpectrogram()(torch.from_numpy(waves))).detach().numpy()
    assert np.abs(logits - TEXTURE).max() < 2e-4


def test_batch_equals_single(network, texture, waves):
    """A logit does not depend on the other windows of the batch."""
    images = LogSpectrogram()(torch.from_numpy(waves))
    for judge in (network, texture):
        singly = torch.cat([judge(image[None]) for image in images])
        assert (judge(images) - singly).abs().max() < 1e-4


def test_settings_reach_the_network():
    """The keyword settings of the config shape the network."""
    network = build(NetworkConfig(settings={"widths": [4, 8], "hidden": 6}))
    shapes = {name: value.shape for name, value in weights_of(network).items()}
    assert shapes["blocks.4.weight"] == (8, 4, 3, 3)
    assert shapes["head.1.weight"] == (6, 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (NetworkConfig(name="unheard_of"), "spectrogram_cnn"),
        (NetworkConfig(settings={"depth": 3}), "depth"),
        (NetworkConfig(settings={"widths": []}), "widths"),
        (NetworkConfig(settings={"widths": "wide"}), "widths"),
        (NetworkConfig(settings={"dropout": 2}), "dropout"),
        (NetworkConfig(settings={"hidden": -1}), "hidden"),
        (NetworkConfig(name="texture_cnn", settings={"widths": []}), "widths"),
        (NetworkConfig(name="texture_cnn", settings={"hidden": 128}), "hidden"),
    ],
)
def test_unusable_configs_are_refused(config, message):
    """An unknown network or a setting that it does not take is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        build(config)
