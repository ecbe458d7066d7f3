import multiprocessing
import os
from multiprocessing import connection

import pytest

from fac_stream.commands import workers
from fac_stream.commands.workers import LOST, in_order
from tests.cli.tasks import measure


@pytest.fixture
def files(tmp_path):
    """``files("", "die")``: paths of files with these texts."""

    def make(*texts):
        paths = [tmp_path / f"{number:03}" for number in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_text(text)
        return [str(path) for path in paths]

    return make


def test_one_process_is_this_one(files):
    """A single file pays for no second process."""
    paths = files("", "")

    assert list(in_order(paths, measure, 1)) == [{"path": path, "process": os.getpid()} for path in paths]


def test_results_come_in_the_order_of_the_files(files):
    """Whoever finishes first, and more files than are handed out at once."""
    paths = files(*[""] * 30)

    results = list(in_order(paths, measure, 2))

    assert [result["path"] for result in results] == paths
    assert os.getpid() not in {result["process"] for result in results}


def test_a_file_that_kills_its_worker_costs_itself_only(files):
    """The others that were under way with it are scored all the same."""
    texts = ["", "die", "", "", "die", *[""] * 12]
    paths = files(*texts)

    results = list(in_order(paths, measure, 2))

    assert [result["path"] for result in results] == paths
    assert [result.get("error") for result in results] == [LOST if text == "die" else None for text in texts]


def test_an_error_of_the_model_ends_it(files):
    """Where nothing can be scored, thousands of lines that say so help nobody."""
    with pytest.raises(RuntimeError, match="the model is broken"):
        list(in_order(files("", "fail", ""), measure, 2))


def test_leaving_ends_the_workers(files):
    """Ctrl-C does not wait for a long recording."""
    results = in_order(files("", "hang", "hang", ""), measure, 2)

    next(results)
    children = multiprocessing.active_children()
    assert children
    results.close()

    # Not join and exitcode: the pool's own thread reaps the children too, and one of both finds nothing.
    for child in children:
        assert connection.wait([child.sentinel], 30)


def test_no_more_is_under_way_than_the_bound(files, monkeypatch):
    """Thousands of files do not wait in memory as thousands of futures."""
    submitted = []
    submit = workers.Crew.submit
    monkeypatch.setattr(
        workers.Crew, "submit", lambda crew, path: submitted.append(path) or submit(crew, path)
    )

    results = in_order(files(*[""] * 20), measure, 2)
    next(results)

    assert len(submitted) == workers.IN_FLIGHT * 2
    results.close()
