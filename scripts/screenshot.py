"""Take the README's picture of a running daemon's dashboard.

::

    fac run --demo &
    .venv/bin/python scripts/screenshot.py http://127.0.0.1:8765/ docs/images/dashboard.png

Waits for a leg whose voice was found synthetic, so that there is something to see.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

WAIT_MS = 120_000


def main() -> None:
    """Read the command line, take the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a running daemon's dashboard.")
    parser.add_argument("url", help="address that the daemon printed")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument("--size", default="1280x800", help="of the window, WIDTHxHEIGHT")
    parser.add_argument("--upload", type=Path, help="a recording to have analysed first")
    take(parser.parse_args())


def take(options: argparse.Namespace) -> None:
    """Open the dashboard, wait for the synthetic voice, save the picture."""
    width, height = map(int, options.size.split("x"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=options.theme, device_scale_factor=1.5
        )
        page.goto(options.url)
        if options.upload:
            page.get_by_label("Recording to check").set_input_files(options.upload)
            expect(page.get_by_role("button", name="Analyse another")).to_be_visible(timeout=WAIT_MS)
        live = page.get_by_role("region", name="Live calls")
        expect(live.get_by_text("Synthetic", exact=True).first).to_be_visible(timeout=WAIT_MS)
        page.evaluate("document.activeElement.blur()")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=options.out, animations="disabled")
        browser.close()


if __name__ == "__main__":
    main()
