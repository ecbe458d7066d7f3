"""Files that commands make: for this user only, whatever the umask says."""

import os
from pathlib import Path


def private(path: Path, *, new: bool = False) -> int:
    """A descriptor to write a file by, which is made with mode 0600; one that is there is emptied.

    Args:
        path: the file.
        new: whether it must not be there yet.

    Raises:
        OSError: it cannot be written, or is there already.
    """
    return os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | (os.O_EXCL if new else os.O_TRUNC), 0o600)
