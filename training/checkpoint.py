"""A training run between two epochs, in memory and on disk; safetensors and JSON, nothing unpickled."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fac_model.network import build
from fac_stream.errors import ConfigError
from training.recipe import Recipe

Row = dict[str, float]


@dataclass
class Run:
    """All that the next epoch depends on, apart from the data."""

    settings: Recipe
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    best: dict[str, Tensor]
    """The network's tensors after the best epoch."""
    history: list[Row] = field(default_factory=list)

    @classmethod
    def start(cls, settings: Recipe, device: torch.device) -> "Run":
        """Fresh weights from the recipe's seed."""
        torch.manual_seed(settings.seed)
        network = build(settings.network).to(device)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        scheduler: Any
        if settings.schedule == "plateau":
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=3)
        else:
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs)
        return cls(settings, network, optimizer, scheduler, _copy(network))

    @property
    def gains(self) -> list[float]:
        """What the recipe chooses by, epoch by epoch."""
        return [row[f"dev_{self.settings.choose_on}"] for row in self.history]

    @property
    def stale_epochs(self) -> int:
        """Epochs since the best one."""
        return len(self.gains) - 1 - int(np.argmax(self.gains)) if self.history else 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none of the last ones gained anything."""
        return len(self.history) >= self.settings.epochs or self.stale_epochs >= self.settings.stop_patience

    def end_epoch(self, row: Row) -> None:
        """Note the epoch's figures, keep the weights if they are the best, and move the learning rate."""
        self.history.append(row)
        if self.stale_epochs == 0:
            self.best = _copy(self.network)
        # A plateau is judged by the dev figure; a cosine knows its way.
        self.scheduler.step(*(self.gains[-1:] if self.settings.schedule == "plateau" else []))


def save(folder: Path, run: Run) -> None:
    """Write beside, then swap: a kill leaves the last checkpoint or this one, beside or in its place."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    moments = run.optimizer.state_dict()
    tensors = {
        f"{number}.{key}": value for number, row in moments["state"].items() for key, value in row.items()
    }
    for name, part in (("network", _copy(run.network)), ("best", run.best), ("optimizer", tensors)):
        save_file({key: value.contiguous() for key, value in part.items()}, new / f"{name}.safetensors")
    plain = (int, float, str, bool, list, type(None))
    scheduler = {key: value for key, value in run.scheduler.state_dict().items() if isinstance(value, plain)}
    state = {
        "recipe": run.settings.model_dump(mode="json"),
        "groups": moments["param_groups"],
        "scheduler": scheduler,
        "history": run.history,
    }
    (new / "state.json").write_text(json.dumps(state, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def restore(folder: Path, run: Run) -> None:
    """Put a fresh run back to where it stood after the last finished epoch.

    A kill between removing the old checkpoint and naming the new one leaves the new one beside.

    Raises:
        ConfigError: there is no checkpoint, it is damaged, or it was made with another recipe.
    """
    beside = folder.with_name(f"{folder.name}.new")
    if not folder.exists() and (beside / "state.json").is_file():
        beside.rename(folder)
    if not (folder / "state.json").is_file():
        raise ConfigError(f"{folder} holds no checkpoint to resume from; start without --resume")
    try:
        state = json.loads((folder / "state.json").read_text())
        parts = {name: load_file(folder / f"{name}.safetensors") for name in ("network", "best", "optimizer")}
        if state["recipe"] != run.settings.model_dump(mode="json"):
            raise ConfigError(f"{folder} was made with another recipe; use another folder")
        rows: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, key = name.split(".")
            rows.setdefault(int(number), {})[key] = tensor
        run.network.load_state_dict(parts["network"])
        run.optimizer.load_state_dict({"state": rows, "param_groups": state["groups"]})
        run.scheduler.load_state_dict(state["scheduler"])
        run.best, run.history = parts["best"], state["history"]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{folder} is damaged: {error}; start without --resume") from error


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
