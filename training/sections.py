"""What the report page says between its tables and pictures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; one without pictures and tables to show is left out."""

    anchor: str
    heading: str
    about: str
    pictures: tuple[str, ...]
    """Names of ``training.plots``."""
    tables: tuple[str, ...]
    """Keys of ``training.sheets``."""


SECTIONS = (
    Section(
        "conditions",
        "Every condition",
        "The same clips through other channels. EER says how well the scores rank; Cllr and actDCF, beside"
        " the least they could be, how well their threshold sits.",
        ("det", "roc"),
        ("clip_over_sources", "alerts", "clip", "window"),
    ),
    Section(
        "calibration",
        "Scores and calibration",
        "A score is a probability: of all clips that are given 80 %, four in five should be synthetic, both"
        " classes weighing alike.",
        ("score_distribution", "calibration"),
        (),
    ),
    Section(
        "groups",
        "Which voices are found",
        "Every group of synthetic clips against all human ones.",
        ("generators",),
        ("by_kind", "by_era", "by_generator", "by_language"),
    ),
    Section(
        "humans",
        "Who is wrongly accused",
        "A mean hides that one room, one microphone or one accent may take all the false alarms.",
        ("false_alarms",),
        ("false_alarms",),
    ),
    Section(
        "cells",
        "Generator against human source",
        "Green is told apart, red is not. A red column is a human source that sounds machine-made to the"
        " network, a red row a generator that passes for human.",
        ("matrix",),
        ("worst_cells",),
    ),
    Section("duration", "Score against duration", "", ("durations",), ("durations",)),
    Section(
        "neither",
        "Neither human nor synthetic",
        "A network for voices answers to anything; what is no speech should never get a score.",
        (),
        ("nonspeech", "codec", "speech_detection"),
    ),
    Section(
        "shortcuts",
        "What shortcuts would give",
        "How far would one come without listening to the voice? A detector that stands no higher than these"
        " may have learnt nothing else.",
        (),
        ("probes",),
    ),
    Section("peers", "Beside other detectors", "", (), ("peers",)),
    Section(
        "classics",
        "The usual pictures",
        "",
        ("confusion_matrix", "precision_recall", "training_history"),
        (),
    ),
)

WORDS = {
    "Positive": "is synthetic. A false alarm is a human called synthetic, a miss a synthetic voice let pass.",
    "EER": "equal error rate: where false alarms and misses are equally many. 50 % is chance, less better.",
    "AUC": "how often a synthetic clip scores above a human one. 0.5 is chance, 1 perfect.",
    "Cllr": (
        "what a decision loses, in bits; 1 is lost by saying nothing. Min Cllr is what ranking alone loses;"
        " the rest is calibration."
    ),
    "minDCF, actDCF": (
        "detection cost as in ASVspoof 5 (synthetic prior 0.05, a human refused costs 1, a synthetic voice"
        " let through 10): 1.9 times the false alarms and once the misses, at the best threshold and at the"
        " one that theory gives."
    ),
    "Intervals": (
        "hold 95 %. Over generators and human sources: whole generators and sources are drawn, which says"
        " what other voices would give. Over clips: single clips are drawn, which says what more clips of"
        " the same would give."
    ),
}
"""What the figures mean."""
