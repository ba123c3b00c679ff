"""Canonical JSON is RFC 8785 and strict JSON has one reading."""

import contextlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from libs.crypto.jcs import CanonicalJsonError, StrictJsonError, canonical, loads_strict

ASCII = st.text(st.characters(max_codepoint=127))
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**52), 2.0**52) | UNICODE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(UNICODE, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(ASCII, UNICODE))
def test_flat_text_is_byte_equal_to_the_reference_implementation(value):
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(UNICODE, UNICODE))
def test_names_outside_ascii_are_sorted_by_utf16_unit(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_names_past_the_basic_plane_sort_before_private_use():
    assert canonical({"\ue000": "", "\U00010000": ""}) == '{"\U00010000":"","\ue000":""}'.encode()


def test_example_of_rfc_8785_section_3_2_3():
    names = {"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One"}
    names |= {
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    order = list(json.loads(canonical(names)).values())
    assert order == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


@given(JSON)
def test_canonical_form_is_a_fixed_point(value):
    once = canonical(value)
    assert canonical(loads_strict(once)) == once


@pytest.mark.parametrize(
    "value",
    [{"a": "\ud800"}, {"\udc00": "a"}, ["\ud83d"], float("nan"), float("inf"), 2**53, {1: "a"}, {"a": b"x"}, object()],
)
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(CanonicalJsonError):
        canonical(value)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b'{"a":"1","a":"1"}', "duplicate name"),
        (b'{"a":1,"\\u0061":2}', "duplicate name"),
        (b'[{"x":{"a":1,"a":2}}]', "duplicate name"),
        (b"NaN", "NaN or Infinity"),
        (b"[-Infinity]", "NaN or Infinity"),
        (b"1e999", "number out of range"),
        (b"\xff", "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'\xef\xbb\xbf"a"', "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not UTF-8"),
        ('{"a":1}'.encode("utf-16-le"), "not JSON"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\uDFFF":1}', "lone surrogate"),
        (b'{"a":["\\udc00\\ud800"]}', "lone surrogate"),
        (b"[" * 100_000, "nested too deep"),
        (b"{} {}", "not JSON"),
        (b"", "not JSON"),
        (b'"\x01"', "not JSON"),
        (b"1" * 5000, "not JSON"),
    ],
)
def test_ambiguous_json_is_refused_by_rule(data, rule):
    with pytest.raises(StrictJsonError) as caught:
        loads_strict(data)
    assert str(caught.value) == rule


def test_a_surrogate_pair_is_one_character():
    assert loads_strict(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    "data", [b'{"pin":"SECRET" x', b'{"SECRET":1,"SECRET":2}', b'"SECRET\\ud800"', b'"SECRET\xff"']
)
def test_a_refusal_carries_nothing_of_what_was_sent(data):
    with pytest.raises(StrictJsonError) as caught:
        loads_strict(data)
    error: BaseException = caught.value
    assert error.__context__ is None
    assert "SECRET" not in repr(error)


def test_a_canonical_refusal_carries_nothing_of_the_value():
    with pytest.raises(CanonicalJsonError) as caught:
        canonical({"pin": "SECRET\ud800"})
    assert caught.value.__context__ is None


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(StrictJsonError):
        loads_strict(data)
