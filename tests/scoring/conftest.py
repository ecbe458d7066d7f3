from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory) -> Path:
    """A bundle with weights drawn at random from a fixed seed, its ONNX graph beside them; two outputs."""
    torch = pytest.importorskip("torch")
    from fac_model.bundle import Bundle
    from fac_model.calibration import Affine, Calibration
    from fac_model.config import FrontEndConfig, NetworkConfig
    from fac_model.network import build, weights_of
    from training.export import export_onnx

    path = tmp_path_factory.mktemp("bundle") / "random"
    with torch.random.fork_rng():
        torch.manual_seed(7)
        config = NetworkConfig(settings={"outputs": 2})
        network = build(config)
    Bundle.save(
        path,
        name="random",
        version="0",
        front_end=FrontEndConfig(),
        network=config,
        outputs=("synthetic", "speech"),
        # Random weights say nearly the same of everything; the scale spreads their scores over [0, 1].
        calibration=Calibration(Affine(200.0, 2.0), Affine(200.0, 3.0), Affine(200.0, 1.0)),
        tensors=weights_of(network),
    )
    export_onnx(path)
    return path


@pytest.fixture(scope="session")
def waves() -> np.ndarray:
    """Windows of many kinds, digital silence first, float32 ``[20, 32000]``."""
    rng = np.random.default_rng(3)
    time = np.arange(32_000) / 16_000
    rows = [np.zeros(32_000), rng.standard_normal(32_000) * 0.1, np.sin(2 * np.pi * 440 * time)]
    for i in range(17):
        buzz = np.sign(np.sin(2 * np.pi * (80 + 15 * i) * time)) * np.maximum(
            0, np.sin(2 * np.pi * 3 * time + i)
        )
        rows.append(0.5 ** (i % 8) * np.convolve(buzz, rng.standard_normal(64) / 8, "same"))
    return np.stack(rows).astype(np.float32)
