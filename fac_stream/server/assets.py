"""Where the dashboard's files are."""

from pathlib import Path

from fac_stream.errors import FacError


def dashboard() -> Path:
    """The folder with ``index.html``: inside the package when installed, beside it in a checkout.

    Raises:
        FacError: neither has it.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "web", package.parent / "web"):
        if (folder / "index.html").is_file():
            return folder
    raise FacError(f"the dashboard's files are in neither {package / 'web'} nor {package.parent / 'web'}")
