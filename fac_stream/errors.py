"""Every exception that FAC Stream raises on purpose.

::

    FacError
    ├── ConfigError            a configuration that cannot be used: path, line, reason
    ├── AudioError             samples or files that cannot be used
    │   └── DecodeError        bytes that no decoder understands
    │       └── NoAudioError   a file that is understood, but holds no sound
    ├── ProtocolError          a peer broke its wire format
    ├── SourceError            a source cannot start or was lost
    ├── ScorerError            the model cannot be loaded or failed on a batch
    ├── RefusedError           the daemon is full or shutting down; try again later
    ├── ConflictError          the call id is in use by a call that is going on
    ├── StorageError           a file that must outlive the process cannot be read or written
    └── SlowSubscriberError    a subscriber reads slower than events come that may not be dropped
"""


class FacError(Exception):
    """Base class; its message is written for the person who reads it."""


class ConfigError(FacError):
    """The configuration cannot be used."""


class AudioError(FacError):
    """Samples that cannot be scored: wrong rate, wrong shape, not finite."""


class DecodeError(AudioError):
    """Bytes that no decoder understands, or that hold no audio."""


class NoAudioError(DecodeError):
    """A file that is understood, but holds no sound."""


class ProtocolError(FacError):
    """A peer broke its wire format."""


class SourceError(FacError):
    """A source cannot start, or was lost while running."""


class ScorerError(FacError):
    """The model cannot be loaded, or failed on a batch."""


class RefusedError(FacError):
    """The daemon is full or shutting down; the peer may try again later."""


class ConflictError(FacError):
    """The call id is in use by a call that is going on."""


class StorageError(FacError):
    """A file that must outlive the process cannot be read or written; nothing of the attempt was kept."""


class SlowSubscriberError(FacError):
    """A subscriber reads slower than events come that may not be dropped."""
