"""A corpus is built from a commit of a repository, and nothing in a repository is ever run."""

import csv
import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError
from typer.testing import CliRunner

import training
from fac_stream.cli import app
from fac_stream.errors import AudioError, ConfigError, FacError
from tests.tones import sound
from training import builder, repository
from training.builder import COLUMNS, Plan, Rule, build, decode, pieces
from training.manifest import Label, Split, read_manifest
from training.pcm import trimmed
from training.repository import RepositoryError, address, obtain

pytestmark = pytest.mark.programs("git")


def git(folder: Path, *arguments: str) -> str:
    """Git as a test needs it, without anybody's settings."""
    names = {
        f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **names}
    done = subprocess.run(
        ["git", "-C", folder, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=settings,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.fixture
def clones(tmp_path) -> tuple[Path, str]:
    """A folder of clones with one at ``lab/demo``, and its commit."""
    folder = tmp_path / "clones/lab/demo"
    for part in ("human", "made", "words"):
        (folder / part).mkdir(parents=True)
    for n in range(3):
        quiet = np.zeros(8_000, np.float32)
        soundfile.write(
            folder / f"human/ann_{n}.wav", np.concatenate([quiet, sound("real", n), quiet]), 16_000
        )
        soundfile.write(folder / f"words/bob_{n}.wav", sound("real", 9 + n, 0.8), 16_000)
    soundfile.write(folder / "made/long.flac", sound("fake", 5, 6.0), 24_000)
    (folder / "made/broken.wav").write_bytes(b"RIFF and no more")
    (folder / "made/large.wav").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "human/link.wav").symlink_to("/etc/passwd")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "samples")
    return tmp_path / "clones", git(folder, "rev-parse", "HEAD")


def plan(commit: str, **changes: object) -> Plan:
    """One origin with three rules, and one that is only named."""
    rules = [
        {
            "files": "human/*",
            "label": "real",
            "split": "train",
            "speaker": "human/([a-z]+)_",
            "language": "en",
        },
        {"files": "words/*.wav", "label": "real", "split": "dev", "speaker": "Bob", "join": True},
        {
            "files": "made/*",
            "label": "fake",
            "split": "test",
            "system": "Buzzer",
            "era": "modern",
            "year": 2024,
        },
    ]
    origin = {"repository": "lab/demo", "commit": commit, "licence": "CC0-1.0", "rules": rules}
    origins = [origin | changes, {"repository": "a program", "licence": "none stated"}]
    return Plan.model_validate({"longest_s": 2.5, "origins": origins})


def test_a_corpus_is_built_from_a_clone(clones, tmp_path):
    """Every clip is read back with what its rule says, as Opus at 16 kHz, cut to speech and to length."""
    told: list[str] = []
    count, failed = build(plan(clones[1]), tmp_path / "out", clones=clones[0], tell=told.append)
    clips = read_manifest(tmp_path / "out")
    assert (len(clips), failed) == (count, 0)
    humans = [clip for clip in clips if clip.split == Split.TRAIN]
    assert [(clip.speaker, clip.language, clip.licence) for clip in humans] == [("ann", "en", "CC0-1.0")] * 3
    fakes = [clip for clip in clips if clip.label == Label.FAKE]
    assert {(clip.generator, clip.source, clip.era) for clip in fakes} == {("Buzzer", "lab/demo", "modern")}
    for clip in clips:
        info = soundfile.info(clip.path)
        assert (info.format, info.subtype, info.samplerate) == ("OGG", "OPUS", 16_000)
        assert 1.0 <= info.duration <= 2.5
    assert any("a program: passed over, named without commit" in line for line in told)
    assert any("Git LFS pointer" in line for line in told)
    assert any(line.startswith("made/broken.wav: passed over") for line in told)


def test_the_manifest_has_the_columns_of_the_corpus(clones, tmp_path):
    """All columns, with the source file named and what was measured of it."""
    build(plan(clones[1]), tmp_path / "out", clones=clones[0], tell=lambda _: None)
    with (tmp_path / "out/manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    made = next(row for row in rows if row["label"] == "fake")
    assert (made["original_rate_hz"], made["original_codec"], made["year"]) == ("24000", "FLAC", "2024")
    assert made["note"] == "from made/long.flac"
    assert 0 < float(made["bandwidth_hz"]) <= 8_000
    assert [row["note"].split(";")[0] for row in rows if row["split"] == "dev"] == ["single words joined"]


def test_the_same_plan_gives_the_same_files(clones, tmp_path):
    """Names and bytes depend on the commit alone."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for out in folders:
        build(plan(clones[1]), out, clones=clones[0], tell=lambda _: None)
    first, second = (
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in folders
    )
    assert first == second


def test_a_missing_commit_is_a_failure(clones, tmp_path):
    """It is told and counted; with nothing to write the build fails, and no corpus is written over."""
    told: list[str] = []
    with pytest.raises(FacError, match="no clips were made"):
        build(plan("0" * 40), tmp_path / "out", clones=clones[0], tell=told.append)
    assert any("has no commit 0000" in line for line in told)
    build(plan(clones[1]), tmp_path / "out", clones=clones[0], tell=told.append)
    with pytest.raises(FacError, match="no folder of clones"):
        build(plan(clones[1]), tmp_path / "other", clones=tmp_path / "none", tell=told.append)
    with pytest.raises(FacError, match="exists; choose another folder"):
        build(plan(clones[1]), tmp_path / "out", clones=clones[0], tell=told.append)


def test_links_are_not_files(clones):
    """A symbolic link, which could point anywhere, is left out."""
    paths = [blob.path for blob in obtain("lab/demo", clones[1], *clones[:1], Path("/nowhere")).files()]
    assert "human/ann_0.wav" in paths
    assert "human/link.wav" not in paths


def test_hooks_and_settings_of_a_clone_are_not_run(clones, tmp_path):
    """A clone that tries to run programs when it is read does not."""
    folder, trace = clones[0] / "lab/demo", tmp_path / "ran"
    for name in ("post-checkout", "reference-transaction", "pre-auto-gc"):
        hook = folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trace}\n")
        hook.chmod(0o755)
    git(folder, "config", "core.fsmonitor", f"touch {trace}")
    git(folder, "config", "core.pager", f"touch {trace}")
    build(plan(clones[1]), tmp_path / "out", clones=clones[0], tell=lambda _: None)
    assert not trace.exists()


def test_a_clone_cannot_name_programs_that_fetch(clones, tmp_path):
    """What an incomplete clone lacks stays missing: whom its settings name to bring it is not asked."""
    folder, trace = clones[0] / "lab/demo", tmp_path / "ran"
    commit = obtain("lab/demo", clones[1], clones[0], tmp_path)
    blob = next(blob for blob in commit.files() if blob.path == "human/ann_0.wav")
    (folder / ".git/objects" / blob.key[:2] / blob.key[2:]).unlink()
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": str(folder),
        "remote.origin.uploadpack": f"touch {trace};",
        "protocol.file.allow": "always",
    }.items():
        git(folder, "config", name, value)
    with pytest.raises(RepositoryError):
        commit.read(blob)
    assert not trace.exists()


def test_no_more_is_read_than_may_be(clones, tmp_path, monkeypatch):
    """Endless listings and large files are refused, and paths that would write to a terminal left out."""
    folder = clones[0] / "lab/demo"
    (folder / "human/\x1b[2J.wav").touch()
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "more")
    commit = obtain("lab/demo", git(folder, "rev-parse", "HEAD"), clones[0], tmp_path)
    files = commit.files()
    assert all(blob.path.isprintable() for blob in files)
    long = max(files, key=lambda blob: blob.size)
    assert len(commit.read(long)) == long.size
    monkeypatch.setattr(repository, "MAX_LISTING_BYTES", 512)
    with pytest.raises(RepositoryError, match="more than 512 bytes"):
        commit.files()
    monkeypatch.setattr(repository, "MAX_FILE_BYTES", long.size - 1)
    with pytest.raises(RepositoryError, match="at most"):
        commit.read(long)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "ext::sh -c id",
            "ssh://host/a/b",
            "git@host:a/b.git",
            "http://host/a/b",
            "file:///a/b",
            "git://h/a/b",
        ),
        *(
            "--upload-pack=id",
            "-x/y",
            "../up",
            "lab/..",
            "https://host/../up",
            "https://user:word@host/a/b",
            "https://host",
            "a b/c",
            "",
            "a\nb/c",
        ),
    ],
)
def test_other_addresses_are_refused(name):
    """Only owner/name, https without a user, and absolute paths; nothing that git takes for an option."""
    with pytest.raises(RepositoryError, match="give owner/name"):
        address(name)


def test_known_addresses():
    """A name is GitHub's; a URL and a path stay."""
    assert address("lab/demo.github.io") == "https://github.com/lab/demo.github.io"
    assert address("https://example.org:8443/lab/demo.git") == "https://example.org:8443/lab/demo.git"
    assert address("/srv/clones/demo") == "/srv/clones/demo"


def test_fetching_is_shallow_and_guarded(tmp_path, monkeypatch):
    """One commit, no tags, no submodules, the URL after ``--``."""
    calls = []

    def fake(*arguments, **_):
        calls.append(arguments)
        if "cat-file" in arguments and not any("fetch" in call for call in calls):
            raise RepositoryError("not yet")
        return b""

    monkeypatch.setattr(repository, "_git", fake)
    obtain("lab/demo", "a" * 40, None, tmp_path)
    (fetch,) = (call for call in calls if "fetch" in call)
    assert {"--depth=1", "--no-tags", "--no-recurse-submodules"} <= set(fetch)
    assert fetch[-3:] == ("--", "https://github.com/lab/demo", "a" * 40)


def test_git_has_a_deadline(monkeypatch):
    """A git that hangs, or is not there, is an error in words."""

    def hang(*_, timeout, **__):
        raise subprocess.TimeoutExpired("git", timeout)

    monkeypatch.setattr(repository.subprocess, "run", hang)
    with pytest.raises(RepositoryError, match="no answer within"):
        repository._git("version")


def test_pieces_are_cut_where_it_is_quiet():
    """No piece is too long, nothing is lost, and the cut falls into the pause."""
    samples = np.ones(40_000, np.float32)
    samples[15_000:16_000] = 0.0
    parts = list(pieces(samples, 20_000))
    assert max(map(len, parts)) <= 20_000
    np.testing.assert_array_equal(np.concatenate(parts), samples)
    assert 15_000 <= len(parts[0]) <= 16_000


def test_silence_is_cut_off():
    """What comes before and after speech goes but for 40 ms; silence alone stays."""
    voice = np.concatenate([np.zeros(16_000), sound("real", 1), np.zeros(16_000)]).astype(np.float32)
    assert len(trimmed(voice)) == pytest.approx(38_400, abs=1_700)
    assert len(trimmed(np.zeros(999, np.float32))) == 999


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"version https://git-lfs.github.com/spec/v1\n", b"#EXTM3U\n"]
)
def test_what_is_no_sound_is_refused(content):
    """Stray bytes are an AudioError."""
    with pytest.raises(AudioError):
        decode(content)


def test_hours_of_sound_in_a_small_file_are_refused(monkeypatch):
    """Decoding stops where the limit is passed."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(40_000), 16_000, format="FLAC")
    assert len(decode(file.getvalue())[0]) == 40_000
    monkeypatch.setattr(builder, "MAX_SAMPLES", 39_999)
    with pytest.raises(AudioError, match="longer than"):
        decode(file.getvalue())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"commit": "main"}, "commit"),
        ({"rules": [{"files": "*", "label": "fake", "split": "train"}]}, "a fake needs its system"),
        ({"rules": [{"files": "*", "label": "real", "split": "train", "speaker": "(a)(b)"}]}, "one group"),
        ({"rules": [{"files": "*", "label": "real", "split": "train", "speaker": "(a"}]}, "speaker"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_plan_says_why(tmp_path, change, said):
    """Branches, unknown keys, nameless fakes and bad expressions are refused with their place."""
    origin = {"repository": "lab/demo", "licence": "CC0-1.0", **change}
    path = tmp_path / "plan.yaml"
    path.write_text(f"origins: [{origin}]".replace("'", '"'))
    with pytest.raises(ConfigError, match=said):
        Plan.load(path)


def test_files_are_named_by_pattern_or_expression():
    """A shell pattern fits the whole path, an expression a part of it; a broken one is refused."""
    rule = {"label": "fake", "split": "train", "system": "x"}
    assert Rule(files="a/*.wav", **rule).fits("a/b/c.wav")
    assert not Rule(files="a/*.wav", **rule).fits("z/a/b.wav")
    assert Rule(files="~/(vits|VITS)/", **rule).fits("demo/VITS/1.wav")
    assert not Rule(files="~^VITS/", **rule).fits("demo/VITS/1.wav")
    with pytest.raises(ValidationError, match="files"):
        Rule(files="~(", **rule)


def test_lengths_that_exclude_each_other_are_refused():
    """Instead of a build that makes nothing."""
    with pytest.raises(ValidationError, match="no clip can be both"):
        Plan(longest_s=3.0, shortest_s=5.0, origins=())


def test_the_shipped_plan_is_valid():
    """Every pinned origin has rules and a licence; no origin comes twice, no generator is in two splits."""
    shipped = Plan.load(Path(training.__file__).parent / "recipes/corpus.yaml")
    assert len({origin.repository for origin in shipped.origins}) == len(shipped.origins)
    assert all(origin.licence for origin in shipped.origins)
    assert all(address(origin.repository) and origin.rules for origin in shipped.origins if origin.commit)
    where = {(rule.system, rule.split) for origin in shipped.origins for rule in origin.rules if rule.system}
    assert len({system for system, _ in where}) == len(where)


def test_the_command_builds(clones, tmp_path):
    """``fac corpus build PLAN --out FOLDER --clones FOLDER`` prints where the manifest is."""
    path = tmp_path / "plan.yaml"
    path.write_text(plan(clones[1]).model_dump_json())
    arguments = ["corpus", "build", str(path), "--out", str(tmp_path / "out"), "--clones", str(clones[0])]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "manifest.csv" in result.stdout
