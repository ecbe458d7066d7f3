import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fac_stream.errors import StorageError
from fac_stream.history.numbers import MAX_NUMBERS, Hashes, harmless, normal, numbers_of

digits = st.text("0123456789", min_size=4, max_size=15).filter(lambda text: not text.startswith("0"))


@given(number=digits, data=st.data())
def test_a_number_is_the_same_however_it_is_written(number, data):
    """Punctuation, the international prefix and the kind of address make no difference; a digit does."""
    punctuated = "".join(digit + data.draw(st.sampled_from(["", " ", "-", ".", "/"])) for digit in number)
    prefix = data.draw(st.sampled_from(["", "+", "00", "tel:", "sip:", "SIPS:+", " +"]))
    suffix = data.draw(st.sampled_from(["", "@pbx.example", ";phone-context=x", "@h:5060;transport=udp"]))
    suffix = suffix if ":" in prefix else ""

    assert normal(f"{prefix}{punctuated}{suffix}") == number
    assert normal(number[:-1]) != number


@given(st.text())
def test_any_text_can_be_looked_for(text):
    """What is no number is compared as it stands, without regard to case."""
    assert normal(text) == normal(f" {text} ")
    assert isinstance(normal(normal(text)), str)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"platform": "telnyx", "from": "+13122010094", "to": "+1302"}, "caller +13122010094 callee +1302"),
        (
            {"platform": "twilio", "parameters": {"Caller": "+1555", "called_number": "+1666"}},
            "caller +1555 callee +1666",
        ),
        ({"ani": "tel:+1555", "ani_name": "Ada", "dnis": "tel:+1666"}, "caller tel:+1555 callee tel:+1666"),
        ({"callerId": 15551234, "callerName": "Ada"}, "caller 15551234"),
        ({"CALLERID(num)": "4711", "channel": "PJSIP/4711"}, "caller 4711"),
        ({"custom_config": {"from": "1", "to": "2"}}, "caller 1 callee 2"),
        (
            {
                "participants": [
                    {"leg": "caller", "aor": "sip:a@b", "name": "A"},
                    {"leg": "agent", "aor": "c"},
                ]
            },
            "caller sip:a@b callee c",
        ),
        ({"from": True, "to": ["+1"], "caller": " ", "participants": "x", "destination": None}, ""),
    ],
)
def test_numbers_are_found_where_platforms_put_them(metadata, expected):
    """By the names of fields, at the top or one level down; names of people are none."""
    assert " ".join(f"{role} {number}" for role, number in numbers_of(metadata)) == expected


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "participants", "parameters", "queue", "platform", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=30)
                | st.dictionaries(st.sampled_from(["from", "to", "aor", "leg"]), inner)
            ),
            max_leaves=40,
        ),
    )
)
def test_whatever_a_platform_says_is_bounded(metadata):
    """Any metadata gives few, short numbers, and JSON of harmless fields alone."""
    found = numbers_of(metadata)

    assert len(found) <= MAX_NUMBERS
    assert all(0 < len(text) <= 200 for _, text in found)
    assert set(json.loads(harmless(metadata, []))) <= {"queue", "platform"}


def test_only_what_is_known_or_named_is_stored():
    """A field that nobody vouched for stays out; long text is cut."""
    said = {"platform": "twilio", "name": "Ada", "campaign": "x" * 500, "account_sid": "AC1", "queue": [1]}

    assert json.loads(harmless(said, [])) == {"platform": "twilio"}
    assert json.loads(harmless(said, ["campaign"])) == {"platform": "twilio", "campaign": "x" * 200}


def test_hashes_need_the_key(tmp_path):
    """The same number has the same hash with the same key, another with another; a call's id has its own."""
    first, again = Hashes(tmp_path / "a.key"), Hashes(tmp_path / "a.key")
    other = Hashes(tmp_path / "deep" / "b.key")

    assert first.number("+49 30 1") == again.number("0049301") != other.number("49301")
    assert first.number("49301") != first.call("49301")
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert [it.name for it in tmp_path.iterdir() if it.is_file()] == ["a.key"]
    assert "49301" not in first.number("49301")


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "ab" * 31])
def test_a_key_that_is_none_is_refused(tmp_path, content):
    """A damaged key would quietly make every search fail."""
    (tmp_path / "a.key").write_text(content)

    with pytest.raises(StorageError, match="it is no key"):
        Hashes(tmp_path / "a.key").number("1")
