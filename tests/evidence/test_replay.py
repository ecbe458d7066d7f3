import numpy as np
import pytest

from fac_stream.audio.speech import SpeechGate
from fac_stream.config import Model, Speech
from fac_stream.errors import ScorerError, StorageError
from fac_stream.evidence.clerk import Clerk
from fac_stream.evidence.folder import Folder
from fac_stream.evidence.record import Excerpt
from fac_stream.evidence.replay import replay
from fac_stream.evidence.ring import Ring
from fac_stream.evidence.sealed import unseal
from fac_stream.scoring.backend import open_scorer
from fac_stream.scoring.judge import Judge
from tests.evidence.exhibits import BACKEND, KEY, SETTINGS, alert, cut, scored
from tests.fakes import FakeGate, FakeScorer, scored_at
from tests.tones import sound


@pytest.fixture(scope="module")
def scorer():
    """The shipped bundle on ONNX Runtime."""
    return open_scorer(Model(backend="onnx"))


@pytest.fixture
def kept(tmp_path):
    """Keep windows as an alert at their end would, and read them back: ``kept(windows, verdicts, model)``."""

    def keep(windows, verdicts, model):
        ring = Ring(60.0)
        for window, verdict in zip(windows, verdicts, strict=True):
            event = scored(window, verdict.score).model_copy(
                update={"skipped": verdict.skipped, "model": model}
            )
            ring.add(window, verdict.run, event)
        folder = Folder(tmp_path / "evidence")
        settings = SETTINGS.model_copy(update={"seconds": 60.0})
        about = alert(windows[-1].end_s).model_copy(update={"model": model})
        Clerk(settings, folder, None, BACKEND, "1").keep(about, ring.heard())
        return Excerpt.decode(unseal(folder.read("alert_1"), KEY)[1])

    return keep


@pytest.mark.parametrize("company", [0, 1, 3, 7, 8, 20])
def test_scores_are_the_same_bit_for_bit(scorer, kept, company):
    """Whatever windows of other calls were in the batch: each window scores again what it scored then."""
    windows = cut(sound("fake", 1, 7.0))
    others = cut(sound("real", 2, 2.0 + company / 2))[:company]
    judge = Judge(scorer, FakeGate(), Speech(network_threshold=0.0))
    verdicts = []
    for window in windows:
        place = window.index % (company + 1)
        batch = [*others[:place], window, *others[place:]]
        verdicts.append(judge.judge(batch).verdicts[place])

    results = replay(kept(windows, verdicts, scorer.model), scorer)

    assert len(results) == len(windows)
    assert [result.score for result in results] == [verdict.score for verdict in verdicts]
    assert all(result.same for result in results)


def test_scores_depend_on_company_and_that_is_why_it_is_kept(scorer):
    """Alone a window scores otherwise in the last bits than in a run with another; more change nothing.

    Should this fail one day, because a runtime is better than that, ``run`` need not be kept any more.
    """
    windows = np.stack([it.samples for it in cut(sound("fake", 1, 10.0))])
    scores = {count: scorer.score(windows[:count]) for count in range(1, 9)}

    assert [scores[count].runs for count in (1, 8)] == [[1], [8] * 8]
    for count in range(2, 9):
        assert (scores[count].synthetic == scores[8].synthetic[:count]).all()
    assert np.abs(scores[1].synthetic - scores[8].synthetic[:1]).max() < 1e-4


def test_a_bit_that_differs_is_seen(scorer, kept):
    """Replay finds out: it does not just repeat what stands in the file."""
    windows = cut(sound("fake", 1, 4.0))
    judge = Judge(scorer, FakeGate(), Speech(network_threshold=0.0))
    excerpt = kept(windows, judge.judge(windows).verdicts, scorer.model)
    excerpt.audio[0][20_000] += 1e-3

    assert not all(result.same for result in replay(excerpt, scorer))


def test_another_bundle_is_refused_by_name(kept):
    """The message names the bundle that is needed and the one that is there."""
    windows = cut(scored_at(0.5, 4.0))
    judge = Judge(FakeScorer(), FakeGate(), Speech())
    excerpt = kept(windows, judge.judge(windows).verdicts, "other@12345678")

    with pytest.raises(ScorerError, match=r"other@12345678.*fake@00000000.*--bundle"):
        replay(excerpt, FakeScorer())


def test_windows_without_a_score_are_kept_and_not_scored(kept):
    """Silence stands in the record with its reason, and is asked of no scorer."""
    sounds = np.concatenate([scored_at(0.5, 4.0), np.zeros(4 * 16_000, np.float32)])
    windows = cut(sounds)
    gate = SpeechGate(0.5, -60.0)
    verdicts = Judge(FakeScorer(), gate, Speech(min_s=0.0)).judge(windows).verdicts
    fake = FakeScorer()
    excerpt = kept(windows, verdicts, fake.model)

    results = replay(excerpt, fake)

    assert len(excerpt.record.windows) == len(windows)
    assert len(results) == sum(verdict.score is not None for verdict in verdicts) < len(windows)


@pytest.mark.parametrize("size", [0, 3, 4, 100])
def test_content_that_is_cut_is_no_record(kept, size):
    """Bytes that are no record raise the error that commands tell people."""
    windows = cut(scored_at(0.5, 4.0))
    verdicts = Judge(FakeScorer(), FakeGate(), Speech()).judge(windows).verdicts
    content = kept(windows, verdicts, "fake@00000000").encode()

    assert Excerpt.decode(content).encode() == content
    for broken in (content[:size], content[:-4], content + bytes(4)):
        with pytest.raises(StorageError):
            Excerpt.decode(broken)
