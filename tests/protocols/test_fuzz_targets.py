import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzz_targets import DATA, TARGETS, inputs, record, records

ROOT = Path(__file__).resolve().parents[2]


def test_every_parser_has_a_target():
    """A module that refuses something is reached by the fuzzer."""
    refusing = {
        path.stem
        for path in (ROOT / "fac_stream/protocols").glob("*.py")
        if re.search("raise ProtocolError|except ProtocolError", path.read_text(encoding="utf-8"))
    }
    assert {module for target in TARGETS.values() for module in target.modules} == refusing
    assert {path.name for path in (DATA / "fuzz").glob("*")} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_known_is_accepted_or_refused(name):
    """The golden messages, whole and cut anywhere, and whatever a fuzzer once broke the parser with."""
    seeds = inputs(name)
    assert seeds
    for seed in seeds:
        for end in {len(seed), len(seed) // 2, len(seed) * 2 // 3}:
            TARGETS[name].run(seed[:end])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40))))
def test_records_say_what_was_written(said):
    """Kinds and contents come back as they went in."""
    assert list(records(b"".join(record(*each) for each in said))) == said
