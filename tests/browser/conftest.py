"""Chromium, pages whose console must stay clean, and the daemon they talk to."""

import shutil
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.scripted import ScriptedDaemon

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def playwright():
    """Per module, and gone before other modules' asynchronous tests: its loop runs in this thread."""
    with sync_playwright() as started:
        expect.set_options(timeout=15_000)
        yield started


@pytest.fixture(scope="module")
def launch(playwright):
    """Starts a Chromium with more arguments."""
    browsers = []

    def start(*arguments):
        executable = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, *arguments])
        browsers.append(browser)
        return browser

    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def chromium(launch):
    """One Chromium for the tests of a module."""
    return launch()


class Console:
    """What a page complained about, and whom it asked."""

    def __init__(self, page):
        self.complaints = []
        self.hosts = set()
        self.allowed = []
        """Parts of complaints that a test provokes on purpose."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("requestfailed", self._on_failure)
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).netloc))

    def _on_console(self, message):
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _on_failure(self, request):
        if request.failure != "net::ERR_ABORTED":  # that is the test leaving the page
            self.complaints.append(f"failed: {request.url} {request.failure}")

    def check(self):
        """Nothing unexpected was said."""
        left = [c for c in self.complaints if not any(part in c for part in self.allowed)]
        assert left == []


@pytest.fixture
def open_page(chromium):
    """Opens pages in contexts of their own, and checks their consoles in the end.

    Ask for it after the daemon: then the pages are gone before the daemon is, without complaint.
    """
    contexts, consoles = [], []

    def start(url=None, browser=None, **options):
        context = (browser or chromium).new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.console = Console(page)
        consoles.append(page.console)
        if url:
            page.goto(url)
        return page

    yield start
    for context in contexts:
        context.close()
    for console in consoles:
        console.check()


@pytest.fixture
def daemon():
    """A daemon that says what the test tells it to."""
    with ScriptedDaemon() as started:
        yield started


@pytest.fixture
def page(daemon, open_page):
    """The dashboard on a desktop, live."""
    opened = open_page(daemon.url)
    expect(opened.get_by_role("status", name="Connection")).to_have_text("Live")
    return opened
