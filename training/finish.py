"""What makes a bundle of trained weights: its graph, its calibration and its decision, both fitted on dev."""

from pathlib import Path

from training.calibrate import calibrate
from training.dataset import Corpus
from training.evidence import fit_decision
from training.export import export_onnx
from training.manifest import Label, Split


def finish(folder: Path, corpus: Corpus) -> Path:
    """Add them to the bundle in a folder; returns the folder.

    Raises:
        BundleError: it is no bundle, or cannot be written.
        ManifestError: dev lacks a class.
        FacError: the graph differs from torch, or the network ranks dev no better than chance.
    """
    dev, nonspeech = corpus.speech(Split.DEV), corpus.part(Split.DEV, Label.NONSPEECH)
    fit_decision(calibrate(export_onnx(folder), dev, nonspeech), dev)
    return folder
