"""From trained weights to a bundle that can be used: graph, calibration and decision, both fitted on dev."""

import shutil
from collections.abc import Callable
from pathlib import Path

from fac_model.bundle import Bundle
from training.calibrate import calibrate
from training.dataset import Corpus
from training.evidence import fit_decision
from training.export import export_onnx
from training.manifest import Label, Split


def finish(save: Callable[[Path], Bundle], out: Path, corpus: Corpus) -> Path:
    """Write a bundle, complete it beside its place, then put it there; returns its folder.

    A bundle without calibration looks like one with: it gets its name only when all is in it, and what stood
    there before stays until then.

    Args:
        save: writes weights and settings as a bundle into the folder that it is given.
        out: the bundle's folder.
        corpus: its split dev is used.

    Raises:
        BundleError: the bundle cannot be written.
        ManifestError: dev lacks a class.
        FacError: the graph differs from torch, or the network ranks dev no better than chance.
    """
    dev, nonspeech = corpus.speech(Split.DEV), corpus.part(Split.DEV, Label.NONSPEECH)
    unfinished = save(out.with_name(f"{out.name}.unfinished")).path
    fit_decision(calibrate(export_onnx(unfinished), dev, nonspeech), dev)
    shutil.rmtree(out, ignore_errors=True)
    return unfinished.rename(out)
