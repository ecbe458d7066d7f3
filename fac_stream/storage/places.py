"""Where the files of the history lie, as the configuration says."""

from pathlib import Path

from fac_stream.config_storage import History
from fac_stream.storage.database import state_file


def history_file(settings: History) -> Path | None:
    """The history; None where none is written."""
    return state_file("history.db") if settings.database == "auto" else settings.database


def audit_file(settings: History) -> Path | None:
    """The audit log; None where none is written."""
    return state_file("audit.jsonl") if settings.audit == "auto" else settings.audit


def key_file(settings: History) -> Path:
    """The key of the hashes that stand in both: beside the history, or beside the audit log alone."""
    return (history_file(settings) or audit_file(settings) or state_file("history.db")).with_name(
        "history.key"
    )
