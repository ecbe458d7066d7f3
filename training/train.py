"""Train a bundle: one recipe, one corpus, one folder.

    fac train training/recipes/default.yaml --data corpus --out runs/default
    fac train training/recipes/default.yaml --data corpus --out runs/default --resume

The folder then holds ``bundle/`` (what ``fac run`` loads), ``history.json`` (a row an epoch) and ``checkpoint/`` (all
that ``--resume`` needs, as safetensors and JSON). On one device the same recipe and corpus give the same weights,
also when the run was interrupted in between: chance is drawn anew from (seed, epoch) at the start of each epoch.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fac_model.bundle import Bundle
from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig
from fac_model.front_end import LogMel
from fac_model.network import build, weights_of
from fac_stream.audio.frames import Samples
from fac_stream.errors import ConfigError
from training.augment import IMAGE, WAVE, Augmentation, augmentations
from training.calibrate import calibrate
from training.dataset import Corpus, crop, draw_order
from training.logits import clip_logits
from training.manifest import Label, ManifestError, Split
from training.metrics import area_under_curve, figures_at_half
from training.recipe import Recipe

Chances = list[tuple[float, Augmentation[Any]]]


def train(recipe: Path, data: Path, out: Path, *, resume: bool = False) -> Path:
    """Train, calibrate on dev and save; returns the bundle's folder.

    Args:
        recipe: YAML, see ``training.recipe.Recipe``.
        data: manifest CSV or folder, see ``training.manifest``.
        out: the run's folder.
        resume: go on after the last finished epoch of this folder.

    Raises:
        ConfigError: the recipe cannot be used, or the folder holds a run of another recipe.
        ManifestError: the manifest cannot be used, or lacks a class in train or dev.
        AudioError: a clip cannot be used.
    """
    settings = Recipe.load(recipe)
    corpus = Corpus.open(data)
    speech = corpus.part(Split.TRAIN, Label.REAL, Label.FAKE)
    dev = corpus.part(Split.DEV, Label.REAL, Label.FAKE)
    for name, part in (("train", speech), ("dev", dev)):
        if len({clip.label for clip in part.clips}) < 2:
            raise ManifestError(f"split {name} needs clips of both classes, real and fake")
    waves, images = _chances(settings, corpus)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(settings.seed)
    front_end = LogMel(FrontEndConfig.preset(settings.front_end)).to(device)
    network = build(settings.network).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    scheduler = _scheduler(settings, optimizer)
    lower = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16")

    def judge(samples: Samples) -> Samples:
        with torch.inference_mode():
            image = front_end(torch.from_numpy(samples).to(device))
            with lower:
                logits: Tensor = network(image.contiguous(memory_format=torch.channels_last))
        return logits.float().cpu().numpy()

    count = settings.windows_per_epoch or len(speech.clips)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = _copy(network)
    checkpoint = out / "checkpoint"
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        history, best = _resume(checkpoint, settings, network, optimizer, scheduler)

    with _progress() as progress:
        batches = -(-count // settings.batch_size)
        bar = progress.add_task("", total=settings.epochs * batches, completed=len(history) * batches)
        for epoch in range(len(history), settings.epochs):
            if _stale(history, settings.choose_on) >= settings.stop_patience:
                break
            started = time.monotonic()
            torch.manual_seed(settings.seed + epoch)
            rng = np.random.default_rng([settings.seed, epoch])
            order = draw_order(speech.clips, settings.sampling, count, rng)
            network.train()
            losses, hits = [], 0
            for numbers in np.array_split(order, batches):
                wave = torch.from_numpy(make_batch(speech, numbers, waves, rng)).to(device)
                synthetic = [speech.clips[number].label == Label.FAKE for number in numbers]
                target = torch.tensor(synthetic, dtype=torch.float32, device=device)
                with torch.no_grad():
                    image = mask_images(front_end(wave), images, rng)
                with lower:
                    logits = network(image.contiguous(memory_format=torch.channels_last)).float()
                loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                hits += int(((logits > 0) == (target > 0.5)).sum())
                progress.update(bar, advance=1, description=_headline(epoch, losses, history, settings))
            network.eval()
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            row |= {"loss": float(np.mean(losses)), "accuracy": hits / count}
            row |= dev_figures(judge, dev, settings)
            row["seconds"] = time.monotonic() - started
            history.append(row)
            # A plateau is judged by the dev figure; a cosine knows its way.
            scheduler.step(*([row[f"dev_{settings.choose_on}"]] if settings.schedule == "plateau" else []))
            if _stale(history, settings.choose_on) == 0:
                best = _copy(network)
            _save_checkpoint(checkpoint, settings, network, optimizer, scheduler, history, best)
            (out / "history.json").write_text(json.dumps(history, indent=1) + "\n")
            progress.console.print(_line(row))

    network.load_state_dict(best)
    bundle = Bundle.save(
        out / "bundle",
        name=settings.name,
        version=settings.version,
        front_end=front_end.config,
        network=settings.network,
        calibration=Calibration(),
        tensors=weights_of(network),
        training=training_summary(settings, speech, history),
    )
    return calibrate(bundle, dev).path


def make_batch(corpus: Corpus, numbers: Any, chances: Chances, rng: np.random.Generator) -> Samples:
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


def dev_figures(judge: Any, dev: Corpus, settings: Recipe) -> dict[str, float]:
    """Loss, accuracy, F1 and AUC of one window a dev clip, each the mean over the recipe's conditions."""
    labels = np.array([clip.label == Label.FAKE for clip in dev.clips])
    rows = []
    for condition in settings.conditions:
        logits = np.concatenate(clip_logits(judge, dev, condition, 1))
        figures = figures_at_half(labels, logits)
        loss = np.mean(np.logaddexp(0.0, np.where(labels, -logits, logits)))
        auc = area_under_curve(labels, logits)
        rows.append([loss, figures["accuracy"], figures["f1"], auc])
    names = ("dev_loss", "dev_accuracy", "dev_f1", "dev_auc")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def training_summary(settings: Recipe, speech: Corpus, history: list[dict[str, float]]) -> dict[str, Any]:
    """On what and how the bundle was trained, plain JSON."""
    sources: dict[tuple[str, str, str], int] = {}
    for clip in speech.clips:
        key = (clip.source, clip.label.value, clip.licence)
        sources[key] = sources.get(key, 0) + 1
    real, fake = (sum(clip.label == label for clip in speech.clips) for label in (Label.REAL, Label.FAKE))
    return {
        "recipe": settings.model_dump(mode="json"),
        "clips": {"real": real, "fake": fake},
        "hours": {label.value: round(speech.hours(label), 2) for label in (Label.REAL, Label.FAKE)},
        "generators": len({(clip.source, clip.generator) for clip in speech.clips if clip.generator}),
        "seed": settings.seed,
        "epochs": len(history),
        "minutes": round(sum(row["seconds"] for row in history) / 60, 1),
        "history": history,
        "sources": [
            {"source": source, "label": label, "licence": licence, "clips": number}
            for (source, label, licence), number in sorted(sources.items())
        ],
    }


def _chances(settings: Recipe, corpus: Corpus) -> tuple[Chances, Chances]:
    """Probability and augmentation, for waves and for images, in the order in which a sound passes them."""
    noise = corpus.part(Split.TRAIN, Label.NONSPEECH)
    known = augmentations(noise.pcm if noise.clips else None)
    lacking = set(settings.augment) - set(known)
    if lacking:
        raise ConfigError("the recipe asks for noise, but the manifest has no nonspeech clips in split train")
    waves, images = (
        [(settings.augment[name], known[name]) for name in names if name in settings.augment]  # type: ignore[index]
        for names in (WAVE, IMAGE)
    )
    return waves, images


def _scheduler(settings: Recipe, optimizer: torch.optim.Optimizer) -> Any:
    if settings.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=3)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)


def _stale(history: list[dict[str, float]], choose_on: str) -> int:
    """Epochs since the best one."""
    gains = [row[f"dev_{choose_on}"] for row in history]
    return len(gains) - 1 - int(np.argmax(gains)) if gains else 0


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _save_checkpoint(
    folder: Path,
    settings: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    history: list[dict[str, float]],
    best: dict[str, Tensor],
) -> None:
    """Write beside, then swap: a kill leaves the last checkpoint or this one."""
    new = folder.with_name("checkpoint.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    moments = optimizer.state_dict()
    tensors = {f"{i}.{key}": value for i, row in moments["state"].items() for key, value in row.items()}
    for name, part in (("network", _copy(network)), ("best", best), ("optimizer", tensors)):
        save_file({key: value.contiguous() for key, value in part.items()}, new / f"{name}.safetensors")
    state = {
        "recipe": settings.model_dump(mode="json"),
        "groups": moments["param_groups"],
        "scheduler": {key: value for key, value in scheduler.state_dict().items() if _is_plain(value)},
        "history": history,
    }
    (new / "state.json").write_text(json.dumps(state, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str | bool | list | type(None))


def _resume(
    folder: Path, settings: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Put everything back as it stood after the last finished epoch; returns history and best weights."""
    if not (folder / "state.json").is_file():
        raise ConfigError(f"{folder} holds no checkpoint to resume from; start without --resume")
    state = json.loads((folder / "state.json").read_text())
    if state["recipe"] != settings.model_dump(mode="json"):
        raise ConfigError(f"{folder} was made with another recipe; use another folder")
    network.load_state_dict(load_file(folder / "network.safetensors"))
    rows: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(folder / "optimizer.safetensors").items():
        number, key = name.split(".")
        rows.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": rows, "param_groups": state["groups"]})
    scheduler.load_state_dict(state["scheduler"])
    return state["history"], load_file(folder / "best.safetensors")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


def _headline(epoch: int, losses: list[float], history: list[dict[str, float]], settings: Recipe) -> str:
    best = max((row[f"dev_{settings.choose_on}"] for row in history), default=float("nan"))
    return (
        f"epoch {epoch + 1}/{settings.epochs} · loss {np.mean(losses[-50:]):.3f}"
        f" · best {settings.choose_on} {best:.3f}"
    )


def _line(row: dict[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.3g}" if name in ("epoch", "lr") else f"{name} {value:.3f}"
        for name, value in row.items()
    )
