"""Train a bundle: one recipe, one corpus, one folder.

    fac train default corpus/ --out runs/default
    fac train default corpus/ --out runs/default --resume

The folder then holds ``bundle/`` (what ``fac run`` loads), ``history.json`` (a row an epoch) and
``checkpoint/`` (all that ``--resume`` needs). On one device and as many threads, the same recipe and corpus
give the same weights, also when the run was interrupted: chance is drawn from (seed, epoch) in each epoch.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig
from fac_model.front_end import LogMel
from fac_model.network import weights_of
from fac_stream.audio.frames import Samples
from fac_stream.errors import ConfigError, FacError
from training import checkpoint
from training.augment import IMAGE, WAVE, Augmentation, augmentations
from training.calibrate import calibrate
from training.checkpoint import Row, Run
from training.dataset import Corpus, crop, draw_order
from training.export import export_onnx
from training.logits import clip_logits
from training.manifest import Label, Split
from training.metrics import figures
from training.recipe import Recipe

Chances = list[tuple[float, Augmentation[Any]]]


def train(recipe: Path, data: Path, out: Path, *, resume: bool = False) -> Path:
    """Train, calibrate on dev, export; returns the bundle's folder.

    Args:
        recipe: YAML, see ``training.recipe.Recipe``.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the run's folder.
        resume: go on after the last finished epoch of this folder.

    Raises:
        ConfigError: the recipe cannot be used, or the folder has no checkpoint of it to resume from.
        ManifestError: the manifest cannot be used, or lacks a class in train or dev.
        AudioError: a clip cannot be used.
        BundleError: the bundle cannot be written.
        FacError: the network ranks dev no better than chance.
    """
    settings = Recipe.load(recipe)
    corpus = Corpus.open(data)
    speech, dev = corpus.speech(Split.TRAIN), corpus.speech(Split.DEV)
    chances = chances_of(settings, corpus)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    front_end = LogMel(FrontEndConfig.preset(settings.front_end)).to(device)
    run = Run.start(settings, device)
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        checkpoint.restore(out / "checkpoint", run)

    batches = -(-(settings.windows_per_epoch or len(speech.clips)) // settings.batch_size)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        total, done = settings.epochs * batches, len(run.history) * batches
        bar = progress.add_task("", total=total, completed=done)
        tell = partial(_advance, progress, bar)
        while not run.finished:
            started = time.monotonic()
            row = fit_epoch(run, front_end, speech, chances, tell)
            row |= dev_figures(run, front_end, dev)
            row["seconds"] = time.monotonic() - started
            run.end_epoch(row)
            checkpoint.save(out / "checkpoint", run)
            (out / "history.json").write_text(json.dumps(run.history, indent=1) + "\n")
            progress.console.print("  ".join(f"{name} {value:.3g}" for name, value in row.items()))

    run.network.load_state_dict(run.best)
    unfinished = Bundle.save(
        out / "bundle.unfinished",
        name=settings.name,
        version=settings.version,
        front_end=front_end.config,
        network=settings.network,
        calibration=Calibration(),
        tensors=weights_of(run.network),
        training=summary(run, speech),
    )
    # A bundle without calibration looks like one with: it gets its name only when all is in it.
    calibrate(export_onnx(unfinished.path), dev)
    shutil.rmtree(out / "bundle", ignore_errors=True)
    return unfinished.path.rename(out / "bundle")


def _advance(progress: Progress, bar: TaskID, text: str) -> None:
    progress.update(bar, advance=1, description=text)


def fit_epoch(
    run: Run, front_end: LogMel, speech: Corpus, chances: tuple[Chances, Chances], tell: Callable[[str], None]
) -> Row:
    """One epoch of AdamW on binary cross-entropy; returns learning rate, loss and accuracy on its batches."""
    settings, epoch = run.settings, len(run.history)
    device = next(run.network.parameters()).device
    torch.manual_seed(settings.seed + epoch)  # dropout
    rng = np.random.default_rng([settings.seed, epoch])
    count = settings.windows_per_epoch or len(speech.clips)
    order = draw_order(speech.clips, settings.sampling, count, rng)
    run.network.train()
    losses, hits = [], 0
    for numbers in np.array_split(order, -(-count // settings.batch_size)):
        waves = make_batch(speech, numbers, chances[0], rng)
        synthetic = [speech.clips[number].label == Label.FAKE for number in numbers]
        target = torch.tensor(synthetic, dtype=torch.float32, device=device)
        with torch.no_grad():
            images = mask_images(front_end(torch.from_numpy(waves).to(device)), chances[1], rng)
        logits = forward(run, images)
        loss = binary_cross_entropy_with_logits(logits, target)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
        run.optimizer.step()
        losses.append(loss.item())
        hits += int(((logits > 0) == (target > 0.5)).sum())
        best = f" · best {settings.choose_on} {max(run.gains):.3f}" if run.gains else ""
        tell(f"epoch {epoch + 1}/{settings.epochs} · loss {np.mean(losses[-50:]):.3f}{best}")
    lr = run.optimizer.param_groups[0]["lr"]
    return {"epoch": epoch + 1, "lr": lr, "loss": float(np.mean(losses)), "accuracy": hits / count}


def forward(run: Run, images: Tensor) -> Tensor:
    """Images ``[B, 1, mels, frames]`` to logits ``[B]``, in the recipe's precision."""
    run.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    with torch.autocast(images.device.type, torch.bfloat16, enabled=run.settings.precision == "bf16"):
        logits: Tensor = run.network(images.contiguous(memory_format=torch.channels_last))
    return logits.float()


def make_batch(corpus: Corpus, numbers: Iterable[int], chances: Chances, rng: np.random.Generator) -> Samples:
    """Crops of the numbered clips, each changed by what the dice say, float32 ``[B, 32000]``."""
    waves = []
    for number in numbers:
        wave = crop(corpus.pcm[number], rng)
        for chance, augmentation in chances:
            if rng.random() < chance:
                wave = augmentation.apply(wave, augmentation.draw(rng))
        waves.append(wave)
    return np.stack(waves)


def mask_images(images: Tensor, chances: Chances, rng: np.random.Generator) -> Tensor:
    """Images ``[B, 1, mels, frames]``, each masked by what the dice say."""
    if not chances:
        return images
    masked = images.cpu().numpy()
    for number in range(len(masked)):
        for chance, augmentation in chances:
            if rng.random() < chance:
                masked[number] = augmentation.apply(masked[number], augmentation.draw(rng))
    return torch.from_numpy(masked).to(images.device)


def dev_figures(run: Run, front_end: LogMel, dev: Corpus) -> Row:
    """Loss, accuracy, F1 and AUC of one window a dev clip, each the mean over the recipe's conditions."""
    run.network.eval()
    device = next(run.network.parameters()).device

    @torch.inference_mode()
    def judge(waves: Samples) -> Samples:
        images = front_end(torch.from_numpy(waves).to(device))
        return forward(run, images).cpu().numpy()

    labels = np.array([clip.label == Label.FAKE for clip in dev.clips])
    rows = []
    for condition in run.settings.conditions:
        logits = np.concatenate(clip_logits(judge, dev, condition, 1))
        if not np.isfinite(logits).all():
            raise FacError("training diverged: the network answers NaN; lower learning_rate in the recipe")
        found = figures(labels, logits)
        loss = float(np.mean(np.logaddexp(0.0, np.where(labels, -logits, logits))))
        rows.append([loss, found["accuracy"], found["f1"], found["auc"]])
    names = ("dev_loss", "dev_accuracy", "dev_f1", "dev_auc")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def summary(run: Run, speech: Corpus) -> dict[str, Any]:
    """On what and how the bundle was trained, plain JSON."""
    sources: dict[tuple[str, str, str], int] = {}
    for clip in speech.clips:
        key = (clip.source, clip.label.value, clip.licence)
        sources[key] = sources.get(key, 0) + 1
    labels = [clip.label for clip in speech.clips]
    return {
        "recipe": run.settings.model_dump(mode="json"),
        "clips": {label.value: labels.count(label) for label in (Label.REAL, Label.FAKE)},
        "hours": {label.value: round(speech.hours(label), 2) for label in (Label.REAL, Label.FAKE)},
        "generators": len({clip.generator for clip in speech.clips if clip.label == Label.FAKE}),
        "seed": run.settings.seed,
        "epochs": len(run.history),
        "best_epoch": int(np.argmax(run.gains)) + 1,
        "minutes": round(sum(row["seconds"] for row in run.history) / 60, 1),
        "history": run.history,
        "sources": [
            {"source": source, "label": label, "licence": licence, "clips": count}
            for (source, label, licence), count in sorted(sources.items())
        ],
    }


def chances_of(settings: Recipe, corpus: Corpus) -> tuple[Chances, Chances]:
    """Probability and augmentation, for waves and for images, in the order in which a sound passes them.

    Raises:
        ConfigError: the recipe asks for noise, and the manifest has none to train with.
    """
    noise = corpus.part(Split.TRAIN, Label.NONSPEECH)
    known = augmentations(noise.pcm if noise.clips else None)
    if not settings.augment.keys() <= known.keys():
        raise ConfigError("the recipe asks for noise, but the manifest has no nonspeech clips in split train")
    share: dict[str, float] = {str(name): value for name, value in settings.augment.items()}
    waves = [(share[name], known[name]) for name in WAVE if name in share]
    images = [(share[name], known[name]) for name in IMAGE if name in share]
    return waves, images
