"""Does an int8 graph pay on a CPU? Speed and ranking of a bundle's graph as it is and quantised.

    python bench/precision.py CORPUS [--bundle runs/default/bundle]

Both graphs score one window of each dev clip, every other one over G.711, in turns on one thread; ``shift``
and ``spread`` are mean and deviation of the change of a logit. bfloat16 is left out: ONNX Runtime (1.32,
tried) has no such convolution on CPU.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fac_model.bundle import Bundle
from fac_stream.audio.frames import Samples
from training.dataset import Corpus
from training.export import checked_graph, graph_logits
from training.metrics import figures
from training.quantise import BATCH, CALIBRATION_WINDOWS, dev_windows, evenly, int8


def timed(score: Callable[[Samples], Samples], waves: Samples) -> tuple[Samples, float]:
    """Logits of the first output ``[N]``, and the processor seconds that they took."""
    started = time.process_time()
    logits = np.concatenate([score(waves[i : i + BATCH])[:, 0] for i in range(0, len(waves), BATCH)])
    return logits, time.process_time() - started


def in_turns(graphs: dict[str, bytes], waves: Samples) -> dict[str, tuple[Samples, float]]:
    """What each graph says, and its milliseconds a window; a part of the windows each, in turns."""
    scores = {name: graph_logits(graph, threads=1) for name, graph in graphs.items()}
    parts: dict[str, list[tuple[Samples, float]]] = {name: [] for name in graphs}
    for part in np.array_split(waves, 20):
        for name, score in scores.items():
            parts[name].append(timed(score, part))
    return {
        name: (np.concatenate([row for row, _ in found]), 1000 * sum(s for _, s in found) / len(waves))
        for name, found in parts.items()
    }


def main() -> None:
    """Read the command line, quantise, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--bundle", type=Path)
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    labels, waves = dev_windows(Corpus.open(options.corpus))
    plain = checked_graph(bundle)
    graphs = {"float32": plain, "int8": int8(plain, evenly(waves, CALIBRATION_WINDOWS))}
    found = in_turns(graphs, waves)
    print(f"{bundle.model_id}, {len(waves)} windows of dev, batches of {BATCH}, one thread")
    print(f"{'':8}{'MB':>8}{'ms':>8}{'EER':>8}{'AUC':>8}{'shift':>8}{'spread':>8}")
    for name, (logits, spent_ms) in found.items():
        ranked, change = figures(labels, logits), logits - found["float32"][0]
        size = f"{len(graphs[name]) / 1e6:8.2f}{spent_ms:8.2f}{ranked['eer']:8.1%}{ranked['auc']:8.3f}"
        print(f"{name:8}{size}{change.mean():+8.3f}{change.std():8.3f}")


if __name__ == "__main__":
    main()
