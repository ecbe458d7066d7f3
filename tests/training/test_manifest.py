"""CSV and folder manifests, and what is wrong with them in words."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.manifest import MAX_FIELD, Label, ManifestError, Split, read_manifest


def write(folder: Path, text: str) -> Path:
    """A manifest beside two files that exist."""
    for name in ("a.wav", "b.wav"):
        (folder / name).touch()
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_with_all_it_knows(tmp_path):
    """Known columns come with the clip, unknown ones are left alone, `system` stands for `generator`."""
    write(
        tmp_path,
        "path,label,split,system,source,licence,speaker,colour,note\n"
        "a.wav,real,train,,page,CC0-1.0,Ann,red,\n"
        "b.wav,Fake,validation,WORLD,page,CC0-1.0,Ann,blue,copy of a.wav\n",
    )
    human, copy = read_manifest(tmp_path)
    assert (human.label, human.split, human.speaker) == (Label.REAL, Split.TRAIN, "Ann")
    assert (copy.label, copy.split, copy.generator) == (Label.FAKE, Split.DEV, "WORLD")
    assert copy.original == human.name == "a.wav"
    assert copy.path == tmp_path / "b.wav"


@pytest.mark.parametrize("word", ["training", "train"])
def test_a_folder_of_folders_is_a_manifest(tmp_path, word):
    """Long and short names of splits; folders below are sources; other files are left out."""
    for name in (
        f"{word}/real/x.wav",
        f"{word}/fake/tts/y.FLAC",
        "testing/real/z.ogg",
        "testing/real/notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = {clip.name: clip for clip in read_manifest(tmp_path)}
    assert set(clips) == {f"{word}/real/x.wav", f"{word}/fake/tts/y.FLAC", "testing/real/z.ogg"}
    assert clips[f"{word}/fake/tts/y.FLAC"].source == "tts"
    assert clips["testing/real/z.ogg"].split == Split.TEST


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label\n", "line 1: the header lacks split"),
        ("", "line 1: the header lacks label, path, split"),
        ("path,label,split\n", "lists no clips"),
        (
            "path,label,split\na.wav,real,train\nb.wav,false,train\n",
            "line 3: label is 'false'; use one of real",
        ),
        ("path,label,split\na.wav,real,holdout\n", "line 2: split is 'holdout'; use one of train"),
        ("path,label,split\nc.wav,real,train\n", "line 2: no such file"),
        ("path,label,split\n,real,train\n", "line 2: the path is empty"),
        ("path,label,split\na.wav,real,train,more\n", "line 2: more fields"),
        ("path,label,split\na.wav,real\n", "line 2: split is ''"),
        (f"path,label,split,x\na.wav,real,train,{'y' * (MAX_FIELD + 1)}\n", "line 2: a field is longer"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, said):
    """Every fault names the file, the line and what would be right."""
    with pytest.raises(ManifestError, match=said.replace("(", r"\(")) as error:
        read_manifest(write(tmp_path, text))
    assert "manifest.csv" in str(error.value)


def test_only_the_first_faults_are_listed(tmp_path):
    """A table that is wrong throughout gives five lines, not a thousand."""
    write(tmp_path, "path,label,split\n" + "c.wav,real,train\n" * 1000)
    with pytest.raises(ManifestError) as error:
        read_manifest(tmp_path)
    assert len(str(error.value).splitlines()) == 5


def test_nothing_there_says_what_could_be(tmp_path):
    """An empty folder and a missing file are refused with a hint."""
    with pytest.raises(ManifestError, match=r"neither a manifest\.csv nor sound files"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestError, match="cannot read"):
        read_manifest(tmp_path / "other.csv")


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    """No content of the file raises anything but a ManifestError."""
    path = tmp_path_factory.mktemp("any") / "manifest.csv"
    path.write_bytes(b"path,label,split\n" + data)
    with pytest.raises(ManifestError):
        read_manifest(path)
