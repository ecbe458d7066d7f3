"""Opening and removing evidence by hand: whoever does it stands in the audit log first."""

from pathlib import Path

from fac_stream.config import Config
from fac_stream.errors import StorageError
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.key import read_key
from fac_stream.evidence.record import Excerpt
from fac_stream.evidence.sealed import Header, unseal
from fac_stream.storage.audit import AuditLog, person
from fac_stream.storage.places import audit_file


def full_id(folder: Folder, alert: str) -> str:
    """The id of the one alert with evidence that is, or begins with, ``alert``.

    Raises:
        StorageError: there is none, or more than one.
    """
    ids = [entry.alert_id for entry in folder.entries()]
    found = [alert] if alert in ids else [it for it in ids if it.startswith(alert)]
    if len(found) != 1:
        what = f"{len(found)} alerts with evidence begin" if found else "no alert with evidence begins"
        raise StorageError(f"{what} with {alert!r}; see: fac evidence list")
    return found[0]


def with_key(settings: Config, key_file: Path | None) -> Config:
    """The configuration with another key; as it is where none is given."""
    if key_file is None:
        return settings
    evidence = settings.evidence.model_copy(update={"key_file": key_file, "key": None})
    return settings.model_copy(update={"evidence": evidence})


def delete_evidence(settings: Config, folder: Folder, alert_id: str) -> None:
    """Remove the evidence of an alert.

    Raises:
        StorageError: it cannot be removed, or the audit log takes no entry: then it is not.
    """
    _note(settings, "evidence.removed", alert_id, "by hand")
    folder.remove(alert_id)


def read_evidence(settings: Config, folder: Folder, alert_id: str, why: str) -> tuple[Header, Excerpt]:
    """Decrypt the evidence of an alert.

    Args:
        settings: with the key, and where the audit log is.
        folder: where it lies.
        alert_id: whole.
        why: stands in the audit log: ``replay``, ``explain``; ``export`` or ``feedback`` where the sound is
            written to a file.

    Raises:
        ConfigError: the key cannot be used.
        StorageError: there is no such evidence, it was changed, or the audit log takes no entry: then nothing
            is shown.
    """
    key, file = read_key(settings.evidence), folder.read(alert_id)
    try:
        header, content = unseal(file, key)
        excerpt = Excerpt.decode(content)
    except StorageError as error:
        raise StorageError(f"the evidence of {alert_id}: {error}") from None
    if header.alert_id != alert_id:
        raise StorageError(
            f"the evidence of {alert_id} is about {header.alert_id}: somebody renamed its file"
        )
    _note(settings, "evidence.read", alert_id, why)
    return header, excerpt


def _note(settings: Config, kind: str, alert_id: str, why: str) -> None:
    if path := audit_file(settings.history):
        AuditLog(path).add(kind, alert=alert_id, why=why, by=person())
