"""A training run between two epochs, in memory and on disk; safetensors and JSON, nothing unpickled."""

import json
import math
import shutil
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fac_model.bundle import Bundle
from fac_model.config import FrontEndConfig, NetworkConfig
from fac_model.network import build
from fac_stream.errors import ConfigError
from training.recipe import Recipe

Row = dict[str, float]


@dataclass
class Run:
    """All that the next epoch depends on, apart from the data."""

    settings: Recipe
    steps: int
    """Of an epoch."""
    network: nn.Module
    """What the optimiser moves."""
    average: nn.Module
    """What is judged and kept: the running mean of its weights, or the network itself."""
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    """The average's tensors after the best epoch."""
    history: list[Row] = field(default_factory=list)
    lineage: dict[str, Any] = field(default_factory=dict)
    """Whose weights, labels and hints had a part in it: ``begun_with``, ``taught_by`` and ``hinted_by``."""

    @classmethod
    def start(cls, settings: Recipe, steps: int, device: torch.device) -> "Run":
        """Fresh weights from the recipe's seed.

        Raises:
            ConfigError: there is no such network, or it does not take its settings.
        """
        torch.manual_seed(settings.seed)
        try:
            network = build(settings.trained_network).to(device)
        except ValueError as error:
            raise ConfigError(f"network: {error}") from error
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        average = deepcopy(network) if settings.ema else network
        return cls(settings, steps, network, average, optimizer, _copy(network))

    def begin_with(self, folder: Path) -> str:
        """Take weights in place of the fresh ones; returns whose they are.

        Args:
            folder: of a bundle, or of a run, whose averaged weights after its last finished epoch are taken.

        Raises:
            BundleError: it is neither.
            ConfigError: it has another network or front end.
        """
        found = Weights.of(folder)
        if (found.network, found.front_end) != (self.settings.network, self.settings.front_end_config):
            raise ConfigError(f"{folder}: has another network or front end than the recipe")
        fresh = self.network.state_dict()
        # What guesses hints begins anew: those of another run may mean other things.
        tensors = {
            name: torch.cat([value, fresh[name][len(value) :].cpu()]) if value.dim() else value
            for name, value in found.tensors.items()
        }
        self.network.load_state_dict(tensors)
        self.average.load_state_dict(tensors)
        self.best = _copy(self.network)
        return found.name

    @property
    def gains(self) -> list[tuple[int, float]]:
        """Epochs that were judged, from 0, and what the recipe chooses by: more is better."""
        figure = self.settings.choose_on
        name = figure if figure.startswith("holdout") else f"dev_{figure}"
        sign = -1.0 if figure.endswith("eer") else 1.0
        return [(epoch, sign * row[name]) for epoch, row in enumerate(self.history) if name in row]

    @property
    def best_epoch(self) -> int:
        """The first of the best ones that were judged, from 0; 0 before there is any."""
        return max(self.gains, key=lambda gain: gain[1], default=(0, 0.0))[0]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none of the last ones gained anything."""
        stale = len(self.history) - 1 - self.best_epoch
        return len(self.history) >= self.settings.epochs or stale >= self.settings.stop_patience

    @property
    def judges_next(self) -> bool:
        """Whether the epoch that is under way ends with a look at dev."""
        epoch = len(self.history) + 1
        return epoch % self.settings.dev_every == 0 or epoch == self.settings.epochs

    def learning_rate(self, step: int) -> float:
        """At a step of the epoch under way: a rising line, times what the schedule says."""
        settings, done = self.settings, len(self.history) * self.steps + step
        rate = settings.learning_rate * min(1.0, (done + 1) / max(1, settings.warmup_steps))
        if settings.schedule == "cosine":
            return rate * 0.5 * (1.0 + math.cos(math.pi * done / (settings.epochs * self.steps)))
        best, stale = -math.inf, 0
        for _, gain in self.gains:
            stale = 0 if gain > best else stale + 1
            best = max(best, gain)
            if stale > 3:
                rate, stale = rate / 10.0, 0
        return rate

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the average towards the network; it forgets its random start faster than it does later."""
        if self.average is self.network:
            return
        done = len(self.history) * self.steps + step
        decay = min(self.settings.ema, (1 + done) / (10 + done))
        # Batch norm's statistics belong to the weights that made them: beside another network's, the average
        # would be judged far worse than it is.
        means, news = self.average.state_dict(), self.network.state_dict()
        for name, mean in means.items():
            if mean.is_floating_point():
                mean.lerp_(news[name], 1.0 - decay)
            else:
                mean.copy_(news[name])

    def end_epoch(self, row: Row) -> None:
        """Note the epoch's figures; keep the weights if they are the best."""
        self.history.append(row)
        if self.best_epoch == len(self.history) - 1:
            self.best = _copy(self.average)


@dataclass(frozen=True, slots=True)
class Weights:
    """A trained network's tensors, and what they belong to."""

    tensors: dict[str, Tensor]
    network: NetworkConfig
    front_end: FrontEndConfig
    name: str
    """For people: the bundle's model id, or recipe and epoch of the run."""

    @classmethod
    def of(cls, folder: Path) -> "Weights":
        """Those of a bundle, or a run's averaged ones after its last finished epoch.

        Raises:
            BundleError: it is neither.
            ConfigError: the run's checkpoint cannot be read, or the bundle is of several networks.
        """
        if not (folder / "checkpoint").is_dir():
            bundle = Bundle.load(folder)
            if bundle.manifest.beside:
                raise ConfigError(f"{folder} is of several networks; name one that it was joined of")
            tensors = {key: torch.from_numpy(value.copy()) for key, value in bundle.tensors().items()}
            return cls(tensors, bundle.manifest.network, bundle.manifest.front_end, bundle.model_id)
        try:
            state = json.loads((folder / "checkpoint" / "state.json").read_text())
            tensors = load_file(folder / "checkpoint" / "average.safetensors")
            settings = Recipe.model_validate(state["recipe"])
            tensors = restricted(tensors, settings.network).state_dict()
            name = f"{settings.name} {settings.version}, epoch {len(state['history'])} of {settings.epochs}"
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ConfigError(f"{folder}: its checkpoint cannot be read: {error}") from error
        return cls(tensors, settings.network, settings.front_end_config, name)


def save(folder: Path, run: Run) -> None:
    """Write beside, then swap: a kill leaves the last checkpoint or this one, beside or in its place."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    moments = run.optimizer.state_dict()
    tensors = {
        f"{number}.{key}": value for number, row in moments["state"].items() for key, value in row.items()
    }
    parts = {"network": _copy(run.network), "average": _copy(run.average), "best": run.best}
    for name, part in {**parts, "optimizer": tensors}.items():
        save_file({key: value.contiguous() for key, value in part.items()}, new / f"{name}.safetensors")
    state = {
        "recipe": run.settings.model_dump(mode="json"),
        "steps": run.steps,
        "groups": moments["param_groups"],
        "history": run.history,
        "lineage": run.lineage,
    }
    (new / "state.json").write_text(json.dumps(state, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def restore(folder: Path, run: Run) -> None:
    """Put a fresh run back to where it stood after the last finished epoch.

    A kill between removing the old checkpoint and naming the new one leaves the new one beside.

    Raises:
        ConfigError: there is no checkpoint, it is damaged, or it was made with another recipe, corpus,
            teachers or hints.
    """
    beside = folder.with_name(f"{folder.name}.new")
    if not folder.exists() and (beside / "state.json").is_file():
        beside.rename(folder)
    if not (folder / "state.json").is_file():
        raise ConfigError(f"{folder} holds no checkpoint to resume from; start without --resume")
    names = ("network", "average", "best", "optimizer")
    try:
        state = json.loads((folder / "state.json").read_text())
        parts = {name: load_file(folder / f"{name}.safetensors") for name in names}
        if Recipe.model_validate(state["recipe"]) != run.settings:
            raise ConfigError(f"{folder} was made with another recipe; use another folder")
        if state["steps"] != run.steps:
            raise ConfigError(f"{folder} was made with {state['steps']} steps an epoch, not {run.steps}")
        for name, given in run.lineage.items():
            # Nobody names again what it began with.
            if name != "begun_with" and state["lineage"][name] != given:
                was = state["lineage"][name] or "nobody"
                raise ConfigError(f"{folder} was {name.replace('_', ' ')} {was}, not {given or 'nobody'}")
        rows: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, key = name.split(".")
            rows.setdefault(int(number), {})[key] = tensor
        run.network.load_state_dict(parts["network"])
        run.average.load_state_dict(parts["average"])
        run.optimizer.load_state_dict({"state": rows, "param_groups": state["groups"]})
        run.best, run.history, run.lineage = parts["best"], state["history"], state["lineage"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{folder} is damaged: {error}; start without --resume") from error


def restricted(tensors: dict[str, Tensor], config: NetworkConfig) -> nn.Module:
    """The network without the outputs that guessed hints in training: only its last layer is cut."""
    network = build(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    own = network.state_dict()
    network.load_state_dict(
        {name: value[: len(own[name])] if value.dim() else value for name, value in tensors.items()}
    )
    return network.eval()


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
