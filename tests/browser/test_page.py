"""The page itself: its weight, its manners, and how it looks in both themes and on a phone."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.messages import leg_summary, scored, started, summary
from tests.browser.scripted import WEB

JAVASCRIPT = sorted(WEB.glob("js/**/*.js"))
pytestmark = pytest.mark.browser

CONTRAST = """
(pairs) => {
  const probe = document.body.appendChild(document.createElement("span"));
  const luminance = (token) => {
    probe.style.color = `var(--${token})`;
    const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
    const [r, g, b] = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return pairs.map(([front, back]) => {
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    return [front, back, (high + 0.05) / (low + 0.05)];
  });
}
"""


def code_bytes(paths: list[Path]) -> int:
    """Bytes without comments and indentation: a comment should cost nobody anything."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return len(re.sub(r"^\s+|^\s*//.*$", "", text, flags=re.MULTILINE).encode())


def test_scripts_stay_small():
    """All scripts together, the chart among them, stay below 64 KB of code."""
    assert 0 < code_bytes(JAVASCRIPT) <= 64 * 1024


def test_style_stays_small():
    """The style sheet stays below 14 KB, comments and all."""
    assert 0 < (WEB / "style.css").stat().st_size <= 14 * 1024


def test_page_needs_nothing_inline_and_nobody_else():
    """No inline script, style or handler, and no address of another host, stands in the files."""
    page = (WEB / "index.html").read_text(encoding="utf-8")

    assert re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|<style", page) == []
    for path in [WEB / "index.html", WEB / "style.css", *JAVASCRIPT]:
        foreign = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8")))
        assert foreign <= {"http://www.w3.org/2000/svg"}, path


def test_page_asks_only_its_own_daemon(page, daemon):
    """Every request and socket goes to the daemon that served the page."""
    assert page.console.hosts == {daemon.url.split("/")[2]}


def test_page_obeys_a_strict_policy(daemon, open_page):
    """Under the daemon's own headers a full page is drawn and the browser reports no violation."""
    page = open_page()
    page.add_init_script(
        "globalThis.violations = [];"
        "addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective));"
    )
    page.goto(daemon.url)
    daemon.until(lambda: daemon.subscribers)
    daemon.say(started(), scored(0.9, 2.0))

    expect(page.get_by_role("meter")).to_be_visible()
    assert page.evaluate("violations") == []


def test_empty_page_says_what_to_do(page):
    """Where nobody is on the line, the page names three things to try."""
    calls = page.get_by_role("region", name="Live calls")

    expect(calls.get_by_text("fac run --demo")).to_be_visible()
    expect(calls.get_by_role("button", name="Start this browser")).to_be_visible()
    expect(calls.get_by_role("button", name="choose one")).to_be_visible()


def test_banner_says_how_far_to_trust_it(page):
    """The banner claims support for a decision, not proof, and leads to what was measured."""
    banner = page.get_by_role("note")

    expect(banner).to_contain_text("Decision support, not proof")
    banner.get_by_role("link").click()
    expect(page.get_by_role("region", name="The model")).to_be_in_viewport()
    for figure in ("93%", "20% (15% to 26%)"):
        expect(page.get_by_role("region", name="The model")).to_contain_text(figure)


def test_daemon_without_model_is_told(daemon, open_page):
    """A status of 503 with ``loaded: false`` is shown as what it is."""
    daemon.loaded = False
    page = open_page(daemon.url)
    page.console.allowed.append("503")

    expect(page.get_by_role("region", name="The model")).to_contain_text("nothing is scored")


def test_plots_load_when_opened(page):
    """The gallery asks for the plots that the bundle has, and no others."""
    gallery = page.get_by_role("region", name="The model").get_by_role("img")
    expect(gallery).to_have_count(0)

    page.get_by_text("Plots of its training and test").click()
    expect(gallery).to_have_count(4)
    expect(page.get_by_role("img", name="ROC")).to_be_visible()


def test_plots_that_did_not_load_are_tried_again(page, daemon):
    """One error leaves words and a button, rather than an empty gallery."""
    page.console.allowed.append("503")
    daemon.graphs = 503
    model = page.get_by_role("region", name="The model")
    page.get_by_text("Plots of its training and test").click()
    expect(model.get_by_role("alert")).to_have_text("The plots did not load: the bundle is being replaced")

    daemon.graphs = 200
    model.get_by_role("button", name="Try again").click()

    expect(model.get_by_role("img")).to_have_count(4)
    expect(model.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(daemon, open_page, scheme):
    """Text reaches WCAG AA, 4.5 to 1, on every ground it stands on."""
    page = open_page(daemon.url, color_scheme=scheme)
    fronts = ["ink", "muted", "accent", "human", "suspicious", "synthetic", "unknown"]
    pairs = [[front, back] for front in fronts for back in ("page", "surface")]
    pairs += [["ink", "raised"], ["muted", "raised"]]

    weak = [entry for entry in page.evaluate(CONTRAST, pairs) if entry[2] < 4.5]

    assert weak == []


def test_theme_follows_the_system_until_chosen(daemon, open_page):
    """The page turns with the system; a chosen theme stays, also after a reload."""
    page = open_page(daemon.url, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark

    page.get_by_role("button", name="Colour theme: system").click()
    expect(page.get_by_role("button", name="Colour theme: light")).to_be_visible()
    assert page.evaluate(ground) == light
    page.reload()
    expect(page.get_by_role("button", name="Colour theme: light")).to_be_visible()
    assert page.evaluate(ground) == light


def test_charts_follow_the_theme(daemon, open_page):
    """A canvas knows no CSS: it is drawn anew when the theme changes."""
    page = open_page(daemon.url, color_scheme="light")
    daemon.until(lambda: daemon.subscribers)
    daemon.say(started(), *[scored(0.8, 2 + i / 2) for i in range(20)])
    chart = page.get_by_role("img", name=re.compile("Timeline of caller"))
    expect(chart).to_have_attribute("aria-label", re.compile("last score 80%"))
    before = chart.evaluate(
        "(canvas) => new Promise((r) => requestAnimationFrame(() => r(canvas.toDataURL())))"
    )

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(
        "([name, before]) => document.querySelector(`canvas[aria-label^='${name}']`).toDataURL() !== before",
        arg=["Timeline of caller", before],
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_scrolls_one_way_only(daemon, open_page, scheme):
    """At 390 pixels a full page is no wider than the phone."""
    long = "a-call-id-of-a-telephone-system-that-does-not-fit-on-any-phone-" * 2
    legs = [leg_summary("caller"), leg_summary("agent", "synthetic", 0.97)]
    daemon.calls = [summary(long, legs, metadata={"note": "n" * 300, "from": "+49 30 5550 1234"})]
    page = open_page(daemon.url, viewport=PHONE, color_scheme=scheme, has_touch=True)

    expect(page.get_by_role("meter")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_who_wants_calm_gets_it(daemon, open_page):
    """Reduced motion: nothing glides, frames come a second apart, and the numbers still arrive."""
    page = open_page(daemon.url, reduced_motion="reduce")
    daemon.until(lambda: daemon.subscribers)
    daemon.say(started(), scored(0.8, 2.0))

    glide = (
        page.get_by_role("meter").locator("i").evaluate("(bar) => getComputedStyle(bar).transitionDuration")
    )
    gap = page.evaluate(
        """async () => {
          const { redraw } = await import("/js/frame.js");
          const drawn = () => new Promise((resolve) => redraw(() => resolve(performance.now())));
          const first = await drawn();
          return (await drawn()) - first;
        }"""
    )

    expect(page.get_by_text("80%", exact=True)).to_be_visible()
    assert glide == "0s"
    assert gap >= 900


def test_keyboard_reaches_everything(page):
    """Tabbing goes through theme, link, microphone and file, each with a visible outline."""
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "(() => { const e = document.activeElement; const box = e.closest('.drop') ?? e;"
                " return [e.ariaLabel ?? e.textContent.trim(), getComputedStyle(box).outlineStyle]; })()"
            )
        )

    names = [name for name, _ in seen]
    for name in ("Colour theme: system", "Use this browser", "Recording to check"):
        assert any(seen_name.startswith(name) for seen_name in names)
    assert {style for _, style in seen[: names.index("Recording to check") + 1]} == {"solid"}
