import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_safetensors

import fac_model.bundle
from fac_model.bundle import Bundle, BundleError
from fac_model.calibration import Affine, Calibration
from fac_model.quality import QualityRange

WEIGHTS = "weights.safetensors"


def edit(bundle, change):
    """Change the parsed ``bundle.json`` in place and write it back."""
    file = bundle.path / "bundle.json"
    tree = json.loads(file.read_text())
    change(tree)
    file.write_text(json.dumps(tree))


def replace(bundle, name, content):
    """Replace a file and its hash, as someone would who wants to get past the hash."""
    (bundle.path / name).write_bytes(content)
    edit(bundle, lambda tree: tree["files"].update({name: hashlib.sha256(content).hexdigest()}))


def test_what_is_saved_is_loaded(bundle, fields):
    """Settings, calibration, metrics, files and every bit of the weights come back."""
    loaded = Bundle.load(bundle.path)
    assert loaded == bundle
    for name in ("front_end", "network", "calibration", "metrics", "training", "name", "version"):
        assert getattr(loaded.manifest, name) == fields[name]
    tensors = loaded.tensors()
    assert tensors.keys() == fields["tensors"].keys()
    assert all(np.array_equal(tensors[name], value) for name, value in fields["tensors"].items())
    assert loaded.plots == ["roc"]
    assert loaded.read("plots/roc.png") == b"\x89PNG"
    assert not loaded.has_onnx


def test_a_person_can_read_the_manifest(bundle):
    """Each tensor stands on one line with its type and shape."""
    text = (bundle.path / "bundle.json").read_text()
    assert '"blocks.0.weight": "float32 [32, 1, 3, 3]"' in text


def test_model_id_follows_what_changes_a_score(bundle):
    """Calibration changes it, metrics and plots do not; its hash has eight digits."""
    assert bundle.model_id.startswith("ramp@")
    assert len(bundle.model_id) == len("ramp@") + 8
    again = bundle.update(metrics={"f1": 0.6}, training={"clips": 3}, files={"plots/roc.png": b"other"})
    assert again.model_id == bundle.model_id
    assert again.update(calibration=Calibration(Affine(0.5, -1.1))).model_id != bundle.model_id


def test_a_second_output_has_its_calibration(tmp_path, fields):
    """A network that tells speech says so, and its speech logit gets a map of its own."""
    calibration = Calibration(speech=Affine(2.0, 1.0))
    both = {"outputs": ("synthetic", "speech"), "calibration": calibration}
    loaded = Bundle.load(Bundle.save(tmp_path / "both", **{**fields, **both}).path)
    assert loaded.manifest.outputs == ("synthetic", "speech")
    assert loaded.manifest.calibration == calibration


def test_the_range_of_quality_is_kept(bundle):
    """What the windows of calibration were like is stored, and changes no score."""
    span = QualityRange((-40.0, -10.0), (3_800.0, 8_000.0), (0.0, 0.01), (10.0, 60.0))
    updated = bundle.update(quality=span)
    assert Bundle.load(bundle.path).manifest.quality == span
    assert updated.model_id == bundle.model_id


def test_weights_change_the_model_id(tmp_path, bundle, fields):
    """One changed weight makes another model."""
    tensors = {name: value.copy() for name, value in fields["tensors"].items()}
    tensors["head.4.bias"] += 1e-3
    assert Bundle.save(tmp_path / "other", **{**fields, "tensors": tensors}).model_id != bundle.model_id


def test_update_keeps_what_it_is_not_given(bundle):
    """New metrics and a new plot leave weights, settings and the other plot as they are."""
    updated = bundle.update(metrics={"f1": 0.7}, files={"plots/history.png": b"png"})
    assert updated == Bundle.load(bundle.path)
    assert updated.plots == ["history", "roc"]
    assert updated.manifest.metrics == {"f1": 0.7}
    assert updated.manifest.training == bundle.manifest.training
    assert updated.manifest.created == bundle.manifest.created


def test_update_does_not_change_weights(bundle):
    """Weights are written by ``save``, together with their shapes."""
    with pytest.raises(BundleError, match=r"Bundle\.save"):
        bundle.update(files={WEIGHTS: b""})


def test_default_is_the_shipped_folder(bundle, monkeypatch):
    """Without a path the bundle inside the package is read."""
    assert Path(fac_model.bundle.__file__).parent / "weights" / "default" == fac_model.bundle.DEFAULT
    monkeypatch.setattr(fac_model.bundle, "DEFAULT", bundle.path)
    assert Bundle.load() == bundle


@pytest.mark.parametrize("name", ["bundle.json", WEIGHTS, "plots/roc.png"])
def test_missing_file_is_refused(bundle, name):
    """Each file that the manifest promises must be there."""
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"no {name}"):
        Bundle.load(bundle.path)


@pytest.mark.parametrize("section", ["front_end", "network", "calibration", "outputs"])
def test_settings_changed_by_hand_are_noticed(bundle, section):
    """Weights and graph belong to their settings: with others, CPU and GPU would score apart."""
    path = bundle.path / "bundle.json"
    fields = json.loads(path.read_text())
    changes = {
        "front_end": {"f_min": 30.0},
        "network": {"settings": {"dropout": 0.1}},
        "calibration": {"prior_windows": 3.0},
    }
    if section == "outputs":
        fields["outputs"].append("speech")
    else:
        fields[section] |= changes[section]
    path.write_text(json.dumps(fields))

    with pytest.raises(BundleError, match="not those it was written with"):
        Bundle.load(bundle.path)


@pytest.mark.parametrize(
    ("conditions", "stated"),
    [
        ({"wideband": {"clip_over_sources": {"eer": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 5}}}}, True),
        ({"wideband": {"clip_over_sources": {"eer": {"value": 0.2, "low": None, "high": 0.3}}}}, False),
        ({"wideband": {}}, False),
        ([], False),
    ],
)
def test_the_error_rate_is_what_the_bundle_states(bundle, conditions, stated):
    """Value and interval where the figures hold them; none, whatever else stands there."""
    eer = bundle.update(metrics={"conditions": conditions}).eer
    assert eer == ({"value": 0.2, "low": 0.1, "high": 0.3} if stated else None)
    assert bundle.update(metrics={}).eer is None


def test_missing_folder_says_what_a_bundle_is(tmp_path):
    """A wrong path is told how a bundle comes into being."""
    with pytest.raises(BundleError, match="fac train"):
        Bundle.load(tmp_path / "nowhere")


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_noticed(bundle, data):
    """Not one bit of weights or plots can change without refusal."""
    name = data.draw(st.sampled_from(sorted(bundle.manifest.files)))
    content = bytearray(whole := bundle.read(name))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (bundle.path / name).write_bytes(content)
    with pytest.raises(BundleError, match="SHA-256"):
        Bundle.load(bundle.path)
    (bundle.path / name).write_bytes(whole)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(json.dumps))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_else_is_no_manifest(bundle, content):
    """Whatever stands in ``bundle.json``, the answer is a bundle or a BundleError."""
    data = content.encode() if isinstance(content, str) else content
    (bundle.path / "bundle.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        Bundle.load(bundle.path)


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda tail: b"\x10\0\0\0\0\0\0\0{" + tail))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_else_is_no_weights_file(bundle, content):
    """Bytes that are no safetensors file are refused even where their hash is right."""
    replace(bundle, WEIGHTS, content)
    with pytest.raises(BundleError, match=WEIGHTS):
        Bundle.load(bundle.path)


FAULTS = {
    "format_version 2 only, not 3": lambda tree: tree.update(format_version=3),
    "format_version 2 only, not 1: train it again": lambda tree: tree.update(
        format_version=1, calibration={"scale": 1.0, "offset": 0.0}
    ),
    "calibration.wideband": lambda tree: tree["calibration"]["wideband"].update(scale=-1.0),
    "calibration.telephone": lambda tree: tree["calibration"].update(telephone=None),
    "calibration.speech is for a network": lambda tree: tree["calibration"].update(
        speech={"scale": 1.0, "offset": 0.0}
    ),
    "outputs": lambda tree: tree.update(outputs=["speech"]),
    "front_end.hop_length": lambda tree: tree["front_end"].update(hop_length=0),
    "front_end.gain": lambda tree: tree["front_end"].update(gain=1.0),
    "network.name": lambda tree: tree["network"].update(name="../evil"),
    "weights.safetensors is not among": lambda tree: tree["files"].pop(WEIGHTS),
    "files.../secret.png": lambda tree: tree["files"].update({"../secret.png": "0" * 64}),
    "files./etc/passwd": lambda tree: tree["files"].update({"/etc/passwd": "0" * 64}),
    "files.plots/../x.png": lambda tree: tree["files"].update({"plots/../x.png": "0" * 64}),
    r"files.plots\\x.png": lambda tree: tree["files"].update({"plots\\x.png": "0" * 64}),
    "files.model.pkl": lambda tree: tree["files"].update({"model.pkl": "0" * 64}),
    "tensors and bundle.json differ: extra": lambda tree: tree["tensors"].update(extra="float32 [1]"),
    "tensors and bundle.json differ: head.4.bias": lambda tree: tree["tensors"].pop("head.4.bias"),
    r"head.4.bias is float32 \[1\], not float32 \[2\]": lambda tree: tree["tensors"].update(
        {"head.4.bias": "float32 [2]"}
    ),
    r"head.4.bias is float32 \[1\], not int64 \[1\]": lambda tree: tree["tensors"].update(
        {"head.4.bias": "int64 [1]"}
    ),
    "created": lambda tree: tree.update(created="yesterday"),
    "author": lambda tree: tree.update(author="me"),
}


@pytest.mark.parametrize("message", FAULTS)
def test_manifest_that_does_not_fit_is_refused(bundle, message):
    """Version, settings, file names and tensors are checked, and the message names the place."""
    edit(bundle, FAULTS[message])
    with pytest.raises(BundleError, match=message):
        Bundle.load(bundle.path)


def test_weights_that_are_not_finite_are_refused(bundle):
    """A training run that diverged gives no bundle that scores."""
    tensors = bundle.tensors()
    tensors["head.4.bias"] = np.array([np.nan], np.float32)
    replace(bundle, WEIGHTS, save_safetensors(tensors))
    with pytest.raises(BundleError, match="not finite"):
        Bundle.load(bundle.path)


def test_oversized_files_are_refused(bundle, monkeypatch):
    """Nothing is read without a bound."""
    monkeypatch.setattr(fac_model.bundle, "MAX_FILE_BYTES", 1000)
    with pytest.raises(BundleError, match="larger than 1000 bytes"):
        Bundle.load(bundle.path)
    (bundle.path / "bundle.json").write_text(" " * (1024 * 1024 + 1))
    with pytest.raises(BundleError, match="larger than 1048576 bytes"):
        Bundle.load(bundle.path)


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "Not A Name"},
        {"metrics": {"f1": float("nan")}},
        {"metrics": {"f1": object()}},
        {"training": {"note": "x" * 1024 * 1024}},
        {"files": {"notes.txt": b""}},
        {"tensors": {}},
        {"tensors": {"x": np.zeros(3, np.float16)}},
        {"tensors": {"x": np.array([np.inf], np.float32)}},
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, fields, fault):
    """Save checks what load will check, and leaves nothing behind."""
    with pytest.raises(BundleError):
        Bundle.save(tmp_path / "new", **{**fields, **fault})
    assert list(tmp_path.iterdir()) == []


def test_failed_save_leaves_the_old_bundle(bundle, fields, monkeypatch):
    """A disk that fills up while the new bundle is written does not harm the old one."""

    def full(self, content):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BundleError, match="No space left"):
        bundle.update(metrics={})
    monkeypatch.undo()
    assert Bundle.load(bundle.path) == bundle
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_failed_exchange_puts_the_old_bundle_back(bundle, monkeypatch):
    """When the new folder cannot take its place the old one returns to it."""
    rename = Path.rename

    def only_old(self, target):
        if not self.name.endswith(".old") and str(target) == str(bundle.path):
            raise OSError("Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_old)
    with pytest.raises(BundleError, match="Permission denied"):
        bundle.update(metrics={})
    assert Bundle.load(bundle.path) == bundle


def test_other_folders_are_not_overwritten(tmp_path, fields):
    """Saving into a folder with something else in it is refused."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.save(tmp_path, **fields)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_changed_file_is_noticed_when_it_is_read(bundle):
    """Between load and read the file may have changed: read verifies again."""
    (bundle.path / "plots/roc.png").write_bytes(b"other")
    with pytest.raises(BundleError, match="SHA-256"):
        bundle.read("plots/roc.png")
    with pytest.raises(BundleError, match=r"no model\.onnx"):
        bundle.read("model.onnx")


def test_others_may_read_what_was_saved(bundle):
    """The folder has the permissions that the user's umask gives, for a daemon that runs as somebody else."""
    umask = os.umask(0)
    os.umask(umask)
    assert bundle.path.stat().st_mode & 0o777 == 0o777 & ~umask


def test_reading_needs_neither_torch_nor_the_daemon():
    """A call-centre box without torch can read a bundle."""
    script = (
        "import sys, fac_model.bundle, fac_model.calibration, fac_model.config\n"
        "print({'torch', 'fac_stream'} & set(sys.modules) or 'neither')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "neither"


def test_nothing_unpickles():
    """No module that reads a bundle names pickle or torch.load; numpy alone imports it for itself."""
    for file in Path(fac_model.bundle.__file__).parent.glob("*.py"):
        text = file.read_text()
        assert not any(word in text for word in ("import pickle", "torch.load", "np.load", "joblib")), file
