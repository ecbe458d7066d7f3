"""Is a corpus fit to train and report on? ``fac train RECIPE DATA --check``.

A *fault* makes figures dishonest: the network is then tested on a speaker, a generator or a recording that it
was trained on. A *warning* is worth knowing. Nothing is changed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import track

from training.fingerprint import Sound, alike, listen
from training.manifest import Clip, Label, Split, read_manifest

EXAMPLES = 5
"""Shown of each finding; the count is complete."""
HEAVY = 0.4
"""Share of a class that one source may have before it is told."""
NO_LICENCE = ("", "none stated", "not stated", "unknown")

Key = Callable[[Clip], str]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the corpus, how often, and where to look."""

    severity: Literal["fault", "warning"]
    topic: str
    text: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """What there is of a label in a split, or of a source in both."""

    clips: int = 0
    hours: float = 0.0
    speakers: int = 0
    generators: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known after listening to every clip once."""

    clips: int
    splits: dict[str, dict[str, Cell]] = field(default_factory=dict)
    """Split, then label."""
    sources: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    """Source, split, label."""
    findings: tuple[Finding, ...] = ()

    @property
    def honest(self) -> bool:
        """No fault was found."""
        return all(finding.severity != "fault" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"honest": self.honest, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """For people: the parts, the sources with both classes' clips by split, the findings."""
        yield f"{self.clips} clips"
        for split, labels in self.splits.items():
            for label, cell in labels.items():
                who = f"{cell.generators} generators" if label == Label.FAKE else f"{cell.speakers} speakers"
                yield f"  {split:<6} {label:<10} {cell.clips:>7} clips  {cell.hours:>8.2f} h  {who:>16}"
        yield f"{len(self.sources)} sources: clips real + fake in train | dev | test"
        for source, splits in self.sources.items():
            counts = [[splits.get(s, {}).get(c, Cell()).clips for c in ("real", "fake")] for s in Split]
            if any(map(any, counts)):
                yield "  " + " | ".join(f"{real:>5} + {fake:<5}" for real, fake in counts) + f"  {source}"
        for finding in sorted(self.findings, key=lambda finding: finding.severity):
            yield f"{finding.severity}: {finding.topic}: {finding.text}"
            yield from (f"    {example}" for example in finding.examples)
            if finding.count > len(finding.examples) > 0:
                yield f"    and {finding.count - len(finding.examples)} more"
        yield "honest" if self.honest else "not honest: mend the faults before you believe any figure"


def check(data: Path) -> Report:
    """Listen to a whole corpus, with progress on standard error.

    Raises:
        ManifestError: the manifest itself cannot be read.
    """
    clips = read_manifest(data, files_exist=False)
    paths = [clip.path for clip in clips]
    bar = track(listen(paths), "listening", len(paths), console=Console(stderr=True), transient=True)
    return report(clips, list(bar))


def report(clips: Sequence[Clip], sounds: Sequence[Sound]) -> Report:
    """What follows from the manifest and the sounds, clip by clip."""
    by_source: dict[str, list[int]] = defaultdict(list)
    for number, clip in enumerate(clips):
        by_source[clip.source].append(number)
    everything = range(len(clips))
    return Report(
        clips=len(clips),
        splits=_cells(clips, sounds, everything),
        sources={name: _cells(clips, sounds, by_source[name]) for name in sorted(by_source)},
        findings=tuple(_findings(clips, sounds)),
    )


def _cells(
    clips: Sequence[Clip], sounds: Sequence[Sound], numbers: Iterable[int]
) -> dict[str, dict[str, Cell]]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number in numbers:
        groups[clips[number].split, clips[number].label].append(number)
    cells: dict[str, dict[str, Cell]] = {}
    for split in Split:
        for label in Label:
            if group := groups.get((split, label)):
                cells.setdefault(split.value, {})[label.value] = Cell(
                    clips=len(group),
                    hours=round(sum(sounds[number].seconds for number in group) / 3600, 4),
                    speakers=len({_speaker(clips[number]) for number in group} - {""}),
                    generators=len({clips[number].generator for number in group} - {""}),
                )
    return cells


def _findings(clips: Sequence[Clip], sounds: Sequence[Sound]) -> Iterator[Finding]:
    yield from _unreadable(clips, sounds)
    real = [clip for clip in clips if clip.label == Label.REAL]
    fake = [clip for clip in clips if clip.label == Label.FAKE]
    yield from _across(real, _speaker, "fault", "speakers", "humans are in more than one split")
    yield from _across(
        fake,
        _letters,
        "fault",
        "generators",
        "generators (but for case and signs) are in more than one split",
    )
    yield from _across(
        fake, lambda clip: clip.source, "warning", "pages", "sources of fakes are in more than one"
    )
    yield from _across(
        fake,
        _speaker,
        "warning",
        "voices",
        "voices that fakes imitate are in more than one split of a source",
    )
    yield from _originals(clips)
    yield from _doubles(clips, sounds)
    yield from _balance(clips, sounds)
    bare = Counter(clip.source for clip in clips if clip.licence.strip().lower() in NO_LICENCE)
    if bare:
        shown = tuple(
            f"{source or '(no source)'}: {count} clips" for source, count in bare.most_common(EXAMPLES)
        )
        yield Finding("warning", "licence", f"{bare.total()} clips state none", len(bare), shown)


def _unreadable(clips: Sequence[Clip], sounds: Sequence[Sound]) -> Iterator[Finding]:
    faults: dict[str, list[str]] = {"files are missing": [], "files cannot be decoded": []}
    for clip, sound in zip(clips, sounds, strict=True):
        if sound.fault and not clip.path.is_file():
            faults["files are missing"].append(clip.name)
        elif sound.fault:
            faults["files cannot be decoded"].append(sound.fault)
    for text, found in faults.items():
        if found:
            yield Finding("fault", "files", f"{len(found)} {text}", len(found), tuple(found[:EXAMPLES]))


def _speaker(clip: Clip) -> str:
    """The same name in two corpora is two people."""
    return f"{clip.source}: {clip.speaker}" if clip.speaker else ""


def _letters(clip: Clip) -> str:
    """The generator's name without case and signs, which two pages may set in two ways."""
    return "".join(filter(str.isalnum, clip.generator)).casefold()


def _across(
    clips: Iterable[Clip], key: Key, severity: Literal["fault", "warning"], topic: str, text: str
) -> Iterator[Finding]:
    where: dict[str, Counter[Split]] = defaultdict(Counter)
    for clip in clips:
        where[key(clip)][clip.split] += 1
    torn = {name: splits for name, splits in where.items() if name and len(splits) > 1}
    if torn:
        shown = tuple(
            f"{name}: {', '.join(f'{splits[split]} in {split}' for split in Split if splits[split])}"
            for name, splits in sorted(torn.items())[:EXAMPLES]
        )
        yield Finding(severity, topic, f"{len(torn)} {text}", len(torn), shown)


def _originals(clips: Sequence[Clip]) -> Iterator[Finding]:
    home = {clip.name: clip.split for clip in clips}
    torn = [clip for clip in clips if clip.original and home.get(clip.original, clip.split) != clip.split]
    if torn:
        shown = tuple(f"{clip.name} in {clip.split}, {clip.original} not" for clip in torn[:EXAMPLES])
        yield Finding("fault", "originals", f"{len(torn)} copies are apart from theirs", len(torn), shown)


def _doubles(clips: Sequence[Clip], sounds: Sequence[Sound]) -> Iterator[Finding]:
    same: dict[str, list[int]] = defaultdict(list)
    for number, sound in enumerate(sounds):
        if sound.digest:
            same[sound.digest].append(number)
    groups = [group for group in same.values() if len(group) > 1]
    kinds = [({clips[n].split for n in group}, {clips[n].label for n in group}) for group in groups]
    torn = [group for group, (splits, _) in zip(groups, kinds, strict=True) if len(splits) > 1]
    torn_labels = [group for group, (_, labels) in zip(groups, kinds, strict=True) if len(labels) > 1]
    rest = [
        group
        for group, (splits, labels) in zip(groups, kinds, strict=True)
        if len(splits) == 1 and len(labels) == 1
    ]
    pairs = [
        [a, b]
        for a, b in alike(sounds)
        if clips[a].split != clips[b].split and clips[a].label == clips[b].label
    ]
    for severity, text, found in (
        ("fault", "recordings are in more than one split", torn),
        ("fault", "recordings have more than one label", torn_labels),
        ("warning", "recordings come more than once in their split", rest),
        ("warning", "pairs of nearly the same recordings are torn apart by a split", pairs),
    ):
        shown = tuple(" = ".join(_place(clips[n]) for n in group[:3]) for group in found[:EXAMPLES])
        if found:
            yield Finding(severity, "doubles", f"{len(found)} {text}", len(found), shown)  # type: ignore[arg-type]


def _place(clip: Clip) -> str:
    return f"{clip.name} ({clip.label}, {clip.split})"


def _balance(clips: Sequence[Clip], sounds: Sequence[Sound]) -> Iterator[Finding]:
    for split in Split:
        seconds: dict[Label, Counter[str]] = {Label.REAL: Counter(), Label.FAKE: Counter()}
        for clip, sound in zip(clips, sounds, strict=True):
            if clip.split == split and clip.label in seconds:
                seconds[clip.label][clip.source] += sound.seconds  # type: ignore[assignment]
        for label, sources in seconds.items():
            if not sources:
                yield Finding("warning", "balance", f"{split} has no {label} clips", 1)
                continue
            source, most = sources.most_common(1)[0]
            share = most / max(sources.total(), 1e-9)
            if share > HEAVY and len(sources) > 1:
                yield Finding("warning", "balance", f"{share:.0%} of {label} in {split} is {source}", 1)
        lonely = sorted(set(seconds[Label.FAKE]) - set(seconds[Label.REAL]))
        if lonely:
            text = f"{len(lonely)} of {len(seconds[Label.FAKE])} sources of fakes in {split} have no human"
            yield Finding("warning", "balance", text, len(lonely), tuple(lonely[:EXAMPLES]))
