"""The figures of a decision as the Markdown that stands in ``docs/decisions.md``, and as a picture."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes

from training.canvas import GREY, KINDS, name_of, panels, percent, png, theme

Figures = Mapping[str, Any]
SHOWN = (1.0, 10.0, 100.0, 1000.0)
"""Of the curve, in the table; the picture has all."""
LEAST = 0.5
"""Where a rate of 0 is drawn on a logarithmic axis."""
RANGE = (1.0, 1000.0)
BESIDE = 1.12
"""How far apart the intervals of two profiles stand."""


def page(figures: Figures) -> str:
    """The part of the page that another bundle changes."""
    return "\n".join([*_summary(figures), "", *_curve(figures), "", *_gate(figures)]) + "\n"


def _summary(figures: Figures) -> list[str]:
    profiles = figures["profiles"]

    def row(title: str, cell: Callable[[Any], str]) -> str:
        return _row(title, (cell(each["default"]) for each in profiles.values()))

    return [
        f"`{figures['model']}`, thresholds of {_origin(figures)}, on split test, with 95 % intervals.",
        f"Asked for: {_asked(figures['rule'])}.",
        "",
        *_head(profiles),
        _row("human speech", (f"{each['human_hours']:.2f} h" for each in profiles.values())),
        _row("calls: human, synthetic, switching", (_counts(each["calls"]) for each in profiles.values())),
        row("evidence for an alarm", lambda found: f"{found['alarm']:.2f}"),
        row("**false alarms per 100 h** of human speech", lambda found: _rate(found["false_alarms"])),
        row("**synthetic calls detected**", lambda found: _share(found["detected"])),
        row("… seconds of speech, median and p90", lambda found: _delay(found["delay_s"])),
        row("voices that switch detected", lambda found: _share(found["detected_after_switch"])),
        row("… seconds after the switch", lambda found: _delay(found["delay_after_switch_s"])),
        row("synthetic called human first", lambda found: _share(found["called_human"]["synthetic"])),
        row("human called human", lambda found: _share(found["called_human"]["human"])),
    ]


def _asked(rule: Mapping[str, float]) -> str:
    return f"{rule['false_alarms_per_100h']:g} false alarms per 100 h, miss rate {rule['miss_rate']:g}"


def _origin(figures: Figures) -> str:
    if figures["tables"] == "theory":
        return "theory"
    references = f"{figures['alarm_reference']:g} and {figures['human_reference']:g}"
    return f"dev (shrink {figures['shrink']:g}, references {references})"


def _curve(figures: Figures) -> list[str]:
    lines = [
        "| profile | false alarms per 100 h asked | found | synthetic calls detected | median, p90 s |",
        "|---|---:|---:|---:|---:|",
    ]
    for profile, each in figures["profiles"].items():
        lines += [
            _row(
                profile,
                (
                    f"{row['asked']:g}",
                    _rate(row["false_alarms"]),
                    _share(row["detected"]),
                    _delay(row["delay_s"]),
                ),
            )
            for row in each["curve"]
            if row["asked"] in SHOWN
        ]
    return lines


def _gate(figures: Figures) -> list[str]:
    gate = figures["gate"]
    kinds = sorted({kind for each in gate.values() for kind in each["by_kind"]})
    return [
        *_head([name_of(name) for name in gate]),
        _row("**windows of speech missed**", (_windows(each["missed"]) for each in gate.values())),
        _row("**windows of non-speech scored**", (_windows(each["passed"]) for each in gate.values())),
        *(
            _row(f"… {kind}", (_windows(each["by_kind"].get(kind)) for each in gate.values()))
            for kind in kinds
        ),
    ]


def _head(names: Iterable[str]) -> list[str]:
    names = list(names)
    return [_row("", names), "|---|" + "---:|" * len(names)]


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def _counts(calls: Mapping[str, int]) -> str:
    return ", ".join(str(count) for count in calls.values())


def _rate(found: Mapping[str, float]) -> str:
    return f"{found['value']:.0f} ({found['low']:.0f} to {found['high']:.0f})"


def _share(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:.0f} % ({100 * found['low']:.0f} to {100 * found['high']:.0f})"


def _windows(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "-"
    share, low, high = (100 * found[name] for name in ("value", "low", "high"))
    return f"{share:.1f} % ({low:.1f} to {high:.1f}) of {found['windows']}"


def _delay(found: Mapping[str, float | None]) -> str:
    return "-" if found["median"] is None else f"{found['median']:.1f}, {found['p90']:.1f}"


def picture(figures: Figures) -> bytes:
    """Delay, detection and what was found, against the false alarms that are asked for: a PNG."""
    with theme(dark=False):
        figure, (delay, detection, found) = panels(3, "Decisions on calls of split test", (13.0, 4.8))
        for number, (profile, each) in enumerate(figures["profiles"].items()):
            colour = KINDS[number]
            _draw_delay(delay, profile, each["curve"], colour)
            _draw_share(detection, profile, each["curve"], colour)
            _draw_rate(found, profile, each["curve"], colour, BESIDE**number)
        found.plot(RANGE, RANGE, ":", color=GREY, label="as asked")
        found.set(yscale="log", ylim=(LEAST, None), title="Found, with 95 % intervals", ylabel="per 100 h")
        delay.set(title="Speech to the alarm", ylabel="seconds", ylim=(0.0, None))
        detection.set(title="Synthetic calls detected", ylim=(0.0, 1.0))
        percent(detection, "y")
        for axes in (delay, detection, found):
            axes.set(xscale="log", xlabel="false alarms per 100 h of human speech, asked for")
            axes.legend(fontsize=8)
        return png(figure)


def _draw_delay(axes: Axes, profile: str, curve: Any, colour: str) -> None:
    for key, style in (("median", "o-"), ("p90", "s:")):
        rows = [row for row in curve if row["delay_s"][key] is not None]
        seconds = [row["delay_s"][key] for row in rows]
        axes.plot(
            [row["asked"] for row in rows], seconds, style, ms=4, color=colour, label=f"{profile}, {key}"
        )


def _draw_share(axes: Axes, profile: str, curve: Any, colour: str) -> None:
    asked, shares = [row["asked"] for row in curve], [row["detected"] for row in curve]
    axes.plot(asked, [row["value"] for row in shares], "o-", ms=4, color=colour, label=profile)
    low, high = ([row[end] for row in shares] for end in ("low", "high"))
    axes.fill_between(asked, low, high, color=colour, alpha=0.12, lw=0)


def _draw_rate(axes: Axes, profile: str, curve: Any, colour: str, beside: float) -> None:
    asked, rates = [row["asked"] * beside for row in curve], [row["false_alarms"] for row in curve]
    value, low, high = ([max(row[end], LEAST) for row in rates] for end in ("value", "low", "high"))
    axes.plot(asked, value, "o-", ms=4, color=colour, label=profile)
    axes.vlines(asked, low, high, color=colour, alpha=0.4)
