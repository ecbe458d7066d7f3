"""The page and the terminal say what was found, in pictures and words, and are safe to open."""

import html
import io
import json
import re

import pytest
from rich.console import Console

from tests.training.scores import RULES, crowd
from training import plots, report
from training.aims import aims
from training.findings import findings
from training.peers import compare
from training.sheets import sheets

HISTORY = [
    {"epoch": n, "loss": 1 / n, "dev_loss": 1 / n, "accuracy": 0.6, "dev_accuracy": 0.6, "dev_auc": 0.7}
    for n in (1, 2)
]
CLASSICS = {"roc", "confusion_matrix", "score_distribution", "precision_recall", "training_history"}
OURS = {"det", "calibration", "generators", "false_alarms", "matrix", "durations"}


@pytest.fixture(scope="module")
def heard():
    """Three conditions, the last harder."""
    return {name: crowd(shift=shift) for name, shift in (("wideband", 0.0), ("g711", 0.3), ("room", 1.0))}


@pytest.fixture(scope="module")
def figures(heard):
    """As ``evaluate`` puts them together."""
    found = {name: findings(each, [0] * 132, RULES, draws=20) for name, each in heard.items()}
    for row in found.values():
        row["false_alarms"][0]["name"] = "<page>|"
    auc = {"value": 0.61, "low": 0.5, "high": 0.7}
    peers = [
        {
            "name": name,
            "window_s": 2.0,
            "conditions": {"wideband": compare(heard["wideband"].speech, None, draws=5)},
        }
        for name in ("ours", "AASIST")
    ]
    return {
        "model": "tiny@1",
        "split": "test",
        "clips": {"real": 60, "fake": 72},
        "generators": 6,
        "sources": 5,
        "alert_threshold": 0.9,
        "min_speech_s": 0.5,
        "aims": aims(found),
        "conditions": found,
        "probes": [{"name": "silence", "plain": auc, "paired": auc}],
        "peers": peers,
    }


@pytest.fixture(scope="module")
def pictures(heard, figures):
    """Light and dark."""
    speech = {name: each.speech for name, each in heard.items()}
    return [plots.all_plots(speech, figures["conditions"], HISTORY, dark=dark) for dark in (False, True)]


def test_all_pictures_are_drawn(pictures, heard, figures):
    """The predecessor's five and ours, small enough for a bundle; light and dark differ; the same twice."""
    light, dark = pictures
    assert set(light) == set(dark) == CLASSICS | OURS
    assert all(png.startswith(b"\x89PNG") for png in light.values())
    assert sum(map(len, light.values())) < 600_000
    assert all(light[name] != dark[name] for name in light)
    again = plots.all_plots({"wideband": heard["wideband"].speech}, figures["conditions"], None)
    assert set(again) == set(light) - {"training_history"}


def test_the_page_needs_no_other_file(tmp_path, figures, pictures):
    """Every picture is inside, in both colours; every table's figures are there; nothing is fetched."""
    report.write(tmp_path, figures, *pictures)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 * len(pictures[0])
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    for words in (
        "tiny@1",
        "60 human clips of 5 sources",
        "Voice3",
        "AASIST",
        "EnCodec",
        "prefers-color-scheme",
    ):
        assert words in page
    for sheet in sheets(figures).values():
        assert html.escape(sheet.heading) in page
    assert json.loads((tmp_path / "metrics.json").read_text()) == figures
    assert (tmp_path / "det.png").read_bytes() == pictures[0]["det"]


def test_names_from_a_manifest_are_only_text(tmp_path, figures, pictures):
    """A source called <page> makes no element of the page."""
    page = report.page(figures, *pictures)
    assert "<page>" not in page
    assert "&lt;page&gt;|" in page


def test_every_row_has_the_heads_columns(figures):
    """No table is ragged, and none is empty."""
    made = sheets(figures)
    assert {"aims", "by_kind", "worst_cells", "nonspeech", "codec", "durations", "peers", "probes"} <= set(
        made
    )
    for sheet in made.values():
        assert sheet.rows
        assert {len(row) for row in sheet.rows} == {len(sheet.head)}


def test_the_terminal_shows_the_aims_first(figures):
    """On 80 columns, nothing cut away: aims, then conditions, kinds, eras, worst cells, peers."""
    console = Console(width=80, file=io.StringIO())
    report.show(figures, console)
    text = console.file.getvalue()
    places = [text.index(words) for words in ("Aims", "room", "By kind", "By era", "Worst cells", "AASIST")]
    assert places == sorted(places)
    assert "…" not in text.replace("… mean", "").replace("… at", "")
