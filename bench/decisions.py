"""What does the daemon decide about clips of a corpus, with the shipped model and the default thresholds?

    python bench/decisions.py CORPUS/manifest.csv --split test

Each clip is decoded, gated, scored and decided exactly as an upload or a call is. One row a class: how many
clips end as human, suspicious and synthetic, with Wilson's 95 % interval for the last. Clips of a corpus are
short; a call gives the decision more speech.
"""

import argparse
import collections
from pathlib import Path

from fac_stream.audio.speech import SpeechGate
from fac_stream.calls.recording import score_recording
from fac_stream.config import Config
from fac_stream.events import Decision
from fac_stream.scoring.backend import open_scorer
from training.intervals import share_interval
from training.manifest import Label, Split, read_manifest


def main() -> None:
    """Read the command line, score, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    config = Config()
    scorer = open_scorer(config.model)
    gate = SpeechGate(config.speech.threshold, config.speech.min_level_dbfs)
    found: dict[Label, collections.Counter[Decision]] = collections.defaultdict(collections.Counter)
    for clip in read_manifest(options.manifest):
        if clip.split == Split(options.split):
            found[clip.label][score_recording(clip.path, scorer, gate, config).decision] += 1
    wanted = f"{config.decision.false_alarms_per_100h:g} false alarms per 100 h asked for"
    print(f"{scorer.model}, {options.split}; {wanted}")
    print(f"{'':10}{'clips':>6}" + "".join(f"{decision.value:>12}" for decision in Decision))
    for label, decisions in found.items():
        count = decisions.total()
        shares = "".join(f"{decisions[decision] / count:>12.1%}" for decision in Decision)
        share = share_interval(decisions[Decision.SYNTHETIC], count)
        print(f"{label.value:10}{count:6}{shares}   synthetic: {share['low']:.1%} to {share['high']:.1%}")


if __name__ == "__main__":
    main()
