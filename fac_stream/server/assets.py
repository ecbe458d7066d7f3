"""The dashboard's files."""

from pathlib import Path

from aiohttp import web

from fac_stream.errors import FacError
from fac_stream.server.failure import ApiError

PATTERN = "/{path:.*}"


class Assets:
    """Serves what is in the dashboard's folder when the daemon starts; no other path exists."""

    def __init__(self, root: Path) -> None:
        files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]
        self._files = {path.relative_to(root).as_posix(): path for path in files}
        self._files[""] = root / "index.html"

    async def handle(self, request: web.Request) -> web.FileResponse:
        """GET of the page and its parts."""
        path = self._files.get(request.match_info["path"])
        if path is None:
            raise ApiError(404, "not_found", "there is nothing at this address")
        # A browser may keep a file, but asks whether it changed: an update of the daemon shows at once.
        return web.FileResponse(path, headers={"Cache-Control": "no-cache"})


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
