"""Train a bundle: one recipe, one corpus, one folder.

    fac train foundation corpus/ --out runs/foundation
    fac train foundation corpus/ --out runs/foundation --resume
    fac train mine.yaml corpus/ --out runs/mine --teacher runs/foundation --hints hints.npz
    torchrun --nproc-per-node 4 -m fac_stream train foundation corpus/ --out runs/foundation

The folder then holds ``bundle/`` (what ``fac run`` loads), ``history.json`` (a row an epoch),
``tensorboard/`` and ``checkpoint/`` (all that ``--resume`` needs). On one device and as many threads, the
same recipe and corpus give the same weights, also when the run was interrupted: chance is drawn from seed,
epoch and batch number.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.front_end import LogSpectrogram
from fac_model.network import weights_of
from training import checkpoint
from training.checkpoint import Row, Run
from training.dataset import Corpus
from training.echo import Echoes
from training.finish import finish
from training.hints import Hints, hint_loss
from training.judge import Judge, forward
from training.lesson import Lesson, Lessons
from training.loader import batches
from training.machine import Place, joined
from training.manifest import Label
from training.mixture import Batch, Mixture
from training.recipe import Recipe
from training.teachers import Teachers
from training.watch import Watch

Tell = Callable[[int, list[Tensor]], None]


def train(
    recipe: Path,
    data: Path,
    out: Path,
    *,
    begin: Path | None = None,
    teachers: Sequence[Path] = (),
    hints: Path | None = None,
    resume: bool = False,
) -> Path:
    """Train, export, calibrate and fit the decision on dev; returns the bundle's folder.

    Args:
        recipe: YAML, see ``training.recipe.Recipe``.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the run's folder.
        begin: a bundle or a run of the recipe's network and front end to begin with, instead of chance.
        teachers: bundles or runs of the recipe's front end that give its share ``taught`` of each label.
        hints: what ``fac corpus embed`` noted of the clips, where the recipe asks for ``hints``.
        resume: go on after the last finished epoch of this folder, with the same teachers and hints.

    Raises:
        ConfigError: the recipe cannot be used, the folder has no checkpoint of it to resume from, the
            bundle to begin with is another network's, or teachers or hints do not suit the recipe.
        ManifestError: the manifest cannot be used, or lacks a class in train or dev.
        AudioError: a clip cannot be used.
        BundleError: the bundle cannot be written.
        FacError: the network ranks dev no better than chance.
        KeyboardInterrupt: it was stopped; how to go on has been said.
    """
    settings = Recipe.load(recipe)
    with joined(settings.workers) as place:
        with place.first_alone():
            corpus = Corpus.open(data)
            mixture = Mixture.of(settings, corpus)
            run = Run.start(settings, -(-mixture.batches // place.count), place.device)
            begun = run.begin_with(begin) if begin else ""
            taught = Teachers(teachers, settings, place.device)
            hinted = Hints.of(hints, mixture.speech.clips, settings.hints)
            run.lineage = {"begun_with": begun, "taught_by": taught.names, "hinted_by": hinted.by}
            out.mkdir(parents=True, exist_ok=True)
            if resume:
                checkpoint.restore(out / "checkpoint", run)
        front_end = LogSpectrogram(settings.front_end_config).to(place.device)
        lessons = Lessons(front_end, taught, hinted, place.device)
        judge = Judge(settings, front_end, corpus)
        with Watch(out / "tensorboard", run, silent=place.rank > 0) as watch:
            try:
                fit(run, lessons, mixture, judge, place=place, watch=watch, out=out)
            except KeyboardInterrupt:
                done = len(run.history)
                watch.say(
                    f"stopped after epoch {done}; go on with the same command and --resume"
                    if done
                    else "stopped before the first epoch was done: there is nothing to resume from"
                )
                raise
        if place.rank:
            return out / "bundle"
        return ship(run, front_end, corpus, out, summary(run, mixture))


def fit(
    run: Run, lessons: Lessons, mixture: Mixture, judge: Judge, *, place: Place, watch: Watch, out: Path
) -> None:
    """All epochs that are left, with a checkpoint after each."""
    network = place.parallel(run.network)
    keys = (
        (epoch, (step * place.count + place.rank) % mixture.batches)
        for epoch in range(len(run.history), run.settings.epochs)
        for step in range(0, run.steps, run.settings.echo)
    )
    upcoming = batches(mixture, keys, run.settings.workers)
    while not run.finished:
        started = time.monotonic()
        row = fit_epoch(run, network, lessons, upcoming, place=place, tell=watch.step)
        if run.judges_next and not place.rank:
            row |= judge.figures(run.average)
        row["seconds"] = time.monotonic() - started
        run.end_epoch(place.agreed(row))
        if not place.rank:
            checkpoint.save(out / "checkpoint", run)
            (out / "history.json").write_text(json.dumps(run.history, indent=1) + "\n")
        watch.epoch(row)


def fit_epoch(
    run: Run, network: nn.Module, lessons: Lessons, upcoming: Iterator[Batch], *, place: Place, tell: Tell
) -> Row:
    """One epoch of AdamW; returns learning rate, loss and accuracy on its batches.

    Accuracy counts agreement with the labels, which teachers may have had a part in.

    Args:
        run: whose weights are moved.
        network: ``run.network``, or what averages its gradients over processes.
        lessons: makes them of the batches.
        upcoming: the batches.
        place: this process's.
        tell: is told the step and the losses after each step.
    """
    settings, epoch = run.settings, len(run.history)
    seed = (settings.seed + epoch) * place.count + place.rank
    torch.manual_seed(seed)  # dropout
    network.train()
    echoes = Echoes(seed)
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    for step in range(run.steps):
        if step % settings.echo == 0:
            batch = next(upcoming)
            lesson = lessons.of(batch)
            if settings.echo > 1:
                echoes.keep(lesson)
        else:
            lesson = echoes.draw()
        for group in run.optimizer.param_groups:
            group["lr"] = run.learning_rate(step)
        lesson = lesson.disguised(batch)
        logits = forward(network, lesson.images, settings.precision)
        loss = loss_of(logits, lesson, settings)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        run.optimizer.step()
        run.follow(step)
        losses.append(loss.detach())
        right = ((logits[:, 0] > 0) == (lesson.synthetic > 0.5)) * lesson.speech
        hits.append(right.sum() / lesson.speech.sum())
        tell(step, losses)
    means = place.mean([float(torch.stack(values).mean()) for values in (losses, hits)])
    return {"epoch": epoch + 1, "lr": run.learning_rate(step), "loss": means[0], "accuracy": means[1]}


def loss_of(logits: Tensor, lesson: Lesson, settings: Recipe) -> Tensor:
    """Cross-entropy of synthetic where there is speech and, with a second output, of speech everywhere.

    Args:
        logits: ``[B, outputs + H]``; the last guess the hints, if there are any.
        lesson: what they should be.
        settings: weight of the second output and of the hints, and smoothing of the classes.
    """
    smoothing, outputs = settings.label_smoothing, logits.shape[1] - settings.hints
    aims = [target * (1.0 - smoothing) + 0.5 * smoothing for target in (lesson.synthetic, lesson.speech)]
    each = binary_cross_entropy_with_logits(logits[:, 0], aims[0], reduction="none")
    loss = (each * lesson.speech).sum() / lesson.speech.sum()
    if outputs > 1:
        loss = loss + settings.speech_weight * binary_cross_entropy_with_logits(logits[:, 1], aims[1])
    if settings.hints:
        loss = loss + settings.hint_weight * hint_loss(logits[:, outputs:], lesson.hints)
    return loss


def ship(run: Run, front_end: LogSpectrogram, corpus: Corpus, out: Path, facts: dict[str, Any]) -> Path:
    """The best epoch's weights as a calibrated bundle with its graph; ``facts`` tell of the training."""
    network = checkpoint.restricted(run.best, run.settings.network).to(front_end.triangles.device)
    silence = torch.zeros(1, front_end.config.window_samples, device=front_end.triangles.device)
    outputs = forward(network, front_end(silence), "fp32").shape[1]

    def save(folder: Path) -> Bundle:
        return Bundle.save(
            folder,
            name=run.settings.name,
            version=run.settings.version,
            front_end=front_end.config,
            network=run.settings.network,
            outputs=("synthetic", "speech")[:outputs],
            calibration=Calibration(),
            tensors=weights_of(network),
            training=facts,
        )

    return finish(save, out / "bundle", corpus)


def summary(run: Run, mixture: Mixture) -> dict[str, Any]:
    """On what and how the bundle was trained, plain JSON."""
    speech = mixture.speech
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
        "best_epoch": run.best_epoch + 1,
        "minutes": round(sum(row["seconds"] for row in run.history) / 60, 1),
        "history": [run.history[epoch] for epoch, _ in run.gains],
        "sources": [
            {"source": source, "label": label, "licence": licence, "clips": count}
            for (source, label, licence), count in sorted(sources.items())
        ],
        **{key: value for key, value in run.lineage.items() if value},
    }
