"""One finding of ``fac doctor``."""

import sys
from dataclasses import dataclass
from typing import Literal

import typer

COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


@dataclass(frozen=True, slots=True)
class Check:
    """What was found, and what to do about it."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""

    def line(self) -> str:
        """For people; the remedy stands on a line of its own."""
        status = f"{self.status:<4}"
        if sys.stdout.isatty():
            status = typer.style(status, fg=COLOURS[self.status], bold=True)
        remedy = f"\n{'':>17}-> {self.remedy}" if self.remedy else ""
        return f"{status}  {self.name:<10} {self.found}{remedy}"
