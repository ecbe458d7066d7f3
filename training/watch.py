"""What a person sees of a training: a bar with the time left, a line an epoch, TensorBoard's curves."""

from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from training.checkpoint import Row, Run

LOOK_EVERY = 10
"""Steps between two looks at the loss: on a GPU each waits for all that is under way."""


class Watch:
    """Progress on the terminal and in a folder; silent in all processes but the first.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, run: Run, *, silent: bool) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, disable=silent)
        self._run = run
        done = len(run.history) * run.steps
        self._bar = self._progress.add_task("", total=run.settings.epochs * run.steps, completed=done)
        self._board = None if silent else SummaryWriter(str(folder), purge_step=done or None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def step(self, number: int, losses: list[Tensor]) -> None:
        """After each step of the epoch under way; ``losses`` are those of the epoch so far."""
        if self._board is None:
            return
        self._progress.advance(self._bar)
        if number % LOOK_EVERY:
            return
        run, loss = (
            self._run,
            sum(recent.item() for recent in losses[-LOOK_EVERY:]) / len(losses[-LOOK_EVERY:]),
        )
        done = len(run.history) * run.steps + number
        self._board.add_scalar("step/loss", loss, done)
        self._board.add_scalar("step/lr", run.learning_rate(number), done)
        best = (
            f" · best {run.settings.choose_on} {abs(dict(run.gains)[run.best_epoch]):.3f}"
            if run.gains
            else ""
        )
        text = f"epoch {len(run.history) + 1}/{run.settings.epochs} · loss {loss:.3f}{best}"
        self._progress.update(self._bar, description=text)

    def epoch(self, row: Row) -> None:
        """After each epoch."""
        if self._board is None:
            return
        for name, value in row.items():
            self._board.add_scalar(f"epoch/{name}", value, len(self._run.history) * self._run.steps)
        self.say("  ".join(f"{name} {value:.3g}" for name, value in row.items()))

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, highlight=False, soft_wrap=True)
