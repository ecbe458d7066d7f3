"""A trained model as a folder: weights, settings, calibration, what it scored, and a hash for every file.

::

    my-bundle/
      bundle.json           settings, calibration, metrics, training summary, tensors, SHA-256 of each file
      weights.safetensors
      model.onnx            optional: front end and network, waveform to logits
      plots/*.png           optional

Reading needs no torch and never unpickles.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from fac_model.calibration import Calibration
from fac_model.config import FrontEndConfig, MemberConfig, NetworkConfig
from fac_model.decision import DecisionTables
from fac_model.quality import QualityRange

MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
DEFAULT = Path(__file__).with_name("weights") / "default"
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024

Arrays = dict[str, npt.NDArray[Any]]
FileName = Annotated[
    str, Field(pattern=r"^(weights\.safetensors|model\.onnx|plots/[a-z0-9][a-z0-9_-]{0,63}\.png)$")
]
TensorType = Annotated[str, Field(pattern=r"^(float32|int64) \[([0-9]+(, [0-9]+)*)?\]$", max_length=128)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Outputs = tuple[Literal["synthetic"]] | tuple[Literal["synthetic"], Literal["speech"]]
"""What the columns of the logits mean, positive for yes."""


class BundleError(Exception):
    """A bundle that is missing, damaged or not for this version; the message says what to do."""


class BundleManifest(BaseModel):
    """The content of ``bundle.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format_version: Literal[2] = 2
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")]
    created: AwareDatetime
    front_end: FrontEndConfig
    network: NetworkConfig
    beside: Annotated[tuple[MemberConfig, ...], Field(max_length=7)] = ()
    """More networks that hear the same window; a logit is the mean of all. Tensors of the first of them
    are stored as ``beside.0.NAME``, of the second as ``beside.1.NAME``."""
    outputs: Outputs
    calibration: Calibration
    settings_sha256: Sha256
    """Over the five above and, unless float32, precision: with others, weights and graph would disagree."""
    precision: Literal["float32", "int8"] = "float32"
    """Of the convolutions in ``model.onnx``."""
    quality: QualityRange | None = None
    """Of the windows that it was calibrated on."""
    decision: DecisionTables | None = None
    """How its windows add up; without, theory has to do. It changes no score, so it is in no hash."""
    self_test: Annotated[list[list[float]], Field(min_length=1, max_length=64)] | None = None
    """Logits of ``fac_model.self_test.known_sounds``, ``[sounds, outputs]``, as ``model.onnx`` gave them."""
    metrics: dict[str, JsonValue] = {}
    training: dict[str, JsonValue] = {}
    tensors: Annotated[dict[str, TensorType], Field(min_length=1, max_length=4096)]
    files: Annotated[dict[FileName, Sha256], Field(max_length=64)]

    @field_validator("files")
    @classmethod
    def _has_weights(cls, files: dict[str, str]) -> dict[str, str]:
        if WEIGHTS not in files:
            raise ValueError(f"{WEIGHTS} is not among the files")
        return files

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.calibration.speech is not None and len(self.outputs) < 2:
            raise ValueError("calibration.speech is for a network that has the output speech")
        if any(len(row) != len(self.outputs) for row in self.self_test or []):
            raise ValueError("self_test has a logit for each output")
        return self


@dataclass(frozen=True)
class Bundle:
    """A folder whose every listed file has been verified; make one with ``load`` or ``save``."""

    path: Path
    manifest: BundleManifest
    model_id: str
    """``name@hash``: eight hex digits over weights, settings and calibration, all that changes a score."""

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read and verify a folder; None for the bundle that is shipped with the package.

        Raises:
            BundleError: something is missing, has not its hash or shape, or is of another format version.
        """
        folder = DEFAULT if path is None else path
        manifest = _read_manifest(folder)
        if manifest.settings_sha256 != _settings_digest(manifest):
            raise BundleError(
                f"{folder / MANIFEST}: front_end, network, beside, outputs or calibration are not those it "
                "was written with: copy the bundle again, or train one with other settings"
            )
        contents = {name: _read_verified(folder, name, digest) for name, digest in manifest.files.items()}
        _check_tensors(folder, contents[WEIGHTS], manifest.tensors)
        return cls(folder, manifest, _model_id(manifest, contents[WEIGHTS]))

    @classmethod
    def save(
        cls,
        path: Path,
        *,
        name: str,
        version: str,
        front_end: FrontEndConfig,
        network: NetworkConfig,
        calibration: Calibration,
        tensors: Mapping[str, npt.NDArray[Any]],
        outputs: Sequence[str] = ("synthetic",),
        beside: Sequence[MemberConfig] = (),
        metrics: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Self:
        """Write a folder whole or not at all; a bundle that stands there already is replaced.

        Args:
            path: the folder to be.
            name: lower case, e.g. ``fac-small``.
            version: free, e.g. ``1.0``.
            front_end: settings of the front end.
            network: name and settings of the network.
            calibration: fitted on held-out data.
            tensors: the network's parameters and buffers, ``fac_model.network.weights_of(network)``.
            outputs: what the network's logits say: ``synthetic``, and ``speech`` where there is a second.
            beside: more networks with as many outputs; their tensors are called ``beside.N.NAME``.
            metrics: what it scored; plain JSON.
            training: on what it was trained; plain JSON.
            files: further content: ``model.onnx`` and ``plots/NAME.png``.

        Raises:
            BundleError: a value does not fit the format, or the folder holds something that is no bundle.
        """
        contents = {**(files or {}), WEIGHTS: save_safetensors(_contiguous(tensors))}
        fields: dict[str, Any] = {
            "name": name,
            "version": version,
            "created": datetime.now(UTC).replace(microsecond=0),
            "front_end": front_end,
            "network": network,
            "beside": tuple(beside),
            "outputs": tuple(outputs),
            "calibration": calibration,
            "metrics": dict(metrics or {}),
            "training": dict(training or {}),
            "tensors": {key: _describe(value) for key, value in tensors.items()},
        }
        return cls._write(path, fields, contents)

    def update(
        self,
        *,
        calibration: Calibration | None = None,
        quality: QualityRange | None = None,
        decision: DecisionTables | None = None,
        precision: Literal["float32", "int8"] | None = None,
        self_test: list[list[float]] | None = None,
        metrics: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Self:
        """Rewrite the folder with some parts replaced; ``files`` are added to those that are there.

        Raises:
            BundleError: a value does not fit the format, or a file changed since the bundle was loaded.
        """
        if files and WEIGHTS in files:
            raise BundleError(f"other weights make another bundle: write {WEIGHTS} with Bundle.save")
        parts = {
            "calibration": calibration,
            "quality": quality,
            "decision": decision,
            "precision": precision,
            "self_test": self_test,
            "metrics": metrics,
            "training": training,
        }
        fields = dict(self.manifest) | {key: value for key, value in parts.items() if value is not None}
        contents = {name: self.read(name) for name in self.manifest.files} | dict(files or {})
        return self._write(self.path, fields, contents)

    @classmethod
    def _write(cls, path: Path, fields: dict[str, Any], contents: Mapping[str, bytes]) -> Self:
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
        try:
            fields = {**fields, "files": digests, "settings_sha256": "0" * 64}
            manifest = BundleManifest.model_validate(fields)
            manifest = manifest.model_copy(update={"settings_sha256": _settings_digest(manifest)})
            text = json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        except (ValidationError, ValueError) as error:
            raise BundleError(f"{path}: cannot be written as a bundle: {_first_fault(error)}") from error
        if len(text) > MAX_MANIFEST_BYTES:
            raise BundleError(f"{path}: {MANIFEST} would exceed 1 MiB: shorten metrics or training")
        _check_tensors(path, contents[WEIGHTS], manifest.tensors)
        _replace_folder(path, {**contents, MANIFEST: text.encode()})
        return cls(path, manifest, _model_id(manifest, contents[WEIGHTS]))

    def read(self, name: str) -> bytes:
        """Content of a listed file, verified again.

        Raises:
            BundleError: it is not listed, or is no longer what it was.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: the bundle has no {name}")
        return _read_verified(self.path, name, self.manifest.files[name])

    def tensors(self) -> Arrays:
        """The weights by name."""
        return _check_tensors(self.path, self.read(WEIGHTS), self.manifest.tensors)

    @property
    def has_onnx(self) -> bool:
        """Whether ``read(ONNX)`` gives a model for ONNX Runtime."""
        return ONNX in self.manifest.files

    @property
    def eer(self) -> dict[str, float] | None:
        """Equal error rate of whole wideband clips that it states, ``value`` between ``low`` and ``high``.

        The interval is drawn over sources and generators; None where the bundle does not say.
        """
        metrics: Any = self.manifest.metrics
        try:
            stated = metrics["conditions"]["wideband"]["clip_over_sources"]["eer"]
            return {name: float(stated[name]) for name in ("value", "low", "high")}
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def plots(self) -> list[str]:
        """Names of the plots without folder and suffix; ``read(f"plots/{name}.png")`` gives one."""
        return sorted(Path(name).stem for name in self.manifest.files if name.startswith("plots/"))


def _read_manifest(folder: Path) -> BundleManifest:
    text = _read(folder, MANIFEST, MAX_MANIFEST_BYTES)
    try:
        return BundleManifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{folder / MANIFEST}: {_first_fault(error)}") from None


def _first_fault(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if where == "format_version":
        return (
            f"this version reads format_version 2 only, not {fault['input']!r:.20}: "
            "train it again with `fac train`, or score with the FAC Stream that wrote it"
        )
    return f"{where}: {fault['msg']}" if where else fault["msg"]


def _read(folder: Path, name: str, limit: int) -> bytes:
    file = folder / name
    try:
        with file.open("rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError:
        raise BundleError(
            f"{folder}: no {name} there; a bundle is a folder that `fac train` writes"
        ) from None
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error}") from None
    if len(content) > limit:
        raise BundleError(f"{file}: larger than {limit} bytes; this is not a bundle that `fac train` wrote")
    return content


def _read_verified(folder: Path, name: str, digest: str) -> bytes:
    content = _read(folder, name, MAX_FILE_BYTES)
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(f"{folder / name}: its SHA-256 is not the one in {MANIFEST}: copy the bundle again")
    return content


def _check_tensors(folder: Path, content: bytes, specs: Mapping[str, str]) -> Arrays:
    try:
        tensors = load_safetensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / WEIGHTS}: not a safetensors file: {error}") from error
    if set(tensors) != set(specs):
        odd = sorted(set(tensors) ^ set(specs))
        raise BundleError(f"{folder / WEIGHTS}: tensors and {MANIFEST} differ: {', '.join(odd[:5])}")
    for name, value in tensors.items():
        if _describe(value) != specs[name]:
            found = _describe(value)
            raise BundleError(f"{folder / WEIGHTS}: {name} is {found}, not {specs[name]} as {MANIFEST} says")
        if not np.isfinite(value).all():
            raise BundleError(f"{folder / WEIGHTS}: {name} holds values that are not finite: train it again")
    return tensors


def _describe(value: npt.NDArray[Any]) -> str:
    return f"{value.dtype} {list(value.shape)}"


def _contiguous(tensors: Mapping[str, npt.NDArray[Any]]) -> Arrays:
    return {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in tensors.items()}


def _settings_digest(manifest: BundleManifest) -> str:
    """SHA-256 over all that, beside the weights, changes a score."""
    settings = manifest.model_dump(mode="json", include={"front_end", "network", "outputs", "calibration"})
    # Only where they say something: a bundle of a single network keeps the name that it always had.
    if manifest.beside:
        settings["beside"] = [member.model_dump(mode="json") for member in manifest.beside]
    if manifest.precision != "float32":
        settings["precision"] = manifest.precision
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _model_id(manifest: BundleManifest, weights: bytes) -> str:
    digest = hashlib.sha256(weights + bytes.fromhex(manifest.settings_sha256)).hexdigest()
    return f"{manifest.name}@{digest[:8]}"


def _replace_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write beside ``path``, then rename: a reader sees the old folder, the new one or none, no mixture."""
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path}: holds something that is not a bundle; choose another folder")
    path = path.absolute()
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    old = beside.with_name(f"{beside.name}.old")
    try:
        for name, content in contents.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
        _exchange(path, beside, old)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(path: Path, new: Path, old: Path) -> None:
    if path.exists():
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
