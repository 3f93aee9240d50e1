"""What leaves the process as text, and values that must not be changed."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.client.frozen import FrozenDict, FrozenList, freeze, same, thaw
from kemudi.schema.masking import masked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_frozen_value_is_the_value(value):
    """Freezing and thawing keep the value; copies and pickles of a frozen value are equal to it."""
    frozen = freeze(value)
    assert same(frozen, value)
    assert same(thaw(frozen), value)
    assert same(copy.deepcopy(frozen), value)
    assert same(copy.copy(frozen), value)
    assert same(pickle.loads(pickle.dumps(frozen)), value)


def test_every_mutator_is_refused():
    """No method of a list or dict changes a served one, also not from a pickle; a copy is plain and can be changed."""
    served = pickle.loads(pickle.dumps(freeze({"a": [1]})))
    items = served["a"]
    assert (type(served), type(items)) == (FrozenDict, FrozenList)
    attempts = [
        lambda: served.update(b=1),
        lambda: served.pop("a"),
        served.popitem,
        served.clear,
        lambda: served.setdefault("b", 1),
        lambda: served.__setitem__("a", 1),
        lambda: served.__delitem__("a"),
        lambda: served.__ior__({"b": 1}),
        lambda: items.append(1),
        lambda: items.extend([1]),
        lambda: items.insert(0, 1),
        items.pop,
        lambda: items.remove(1),
        items.reverse,
        items.sort,
        items.clear,
        lambda: items.__setitem__(0, 2),
        lambda: items.__delitem__(0),
        lambda: items.__iadd__([1]),
        lambda: items.__imul__(2),
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="cannot be changed"):
            attempt()
    assert served == {"a": [1]}
    plain = copy.deepcopy(served)
    plain["a"].append(2)
    assert plain == {"a": [1, 2]}


@given(st.text(min_size=1, max_size=12), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_survives_masking(secret, before, after):
    """Whatever the secret and the text around it, the masked text holds the secret no more than `***` does."""
    shown = masked(f"{before}{secret}{after}", [secret])
    assert secret not in shown.replace("***", "") or secret in "\x00*** …"


def test_a_structured_secret_is_masked_leaf_by_leaf():
    """The texts and numbers inside an object that is secret are masked."""
    assert (
        masked("user u1 with p4ss and 98765", [{"user": "u1", "more": ["p4ss", 98765, None]}])
        == "user *** with *** and ***"
    )


def test_masking_keeps_one_bounded_line():
    """Line breaks, terminal codes and text directions are blanks, and a long text is cut."""
    assert masked("a\nb\x1b[31mc\u202ed", []) == "a b [31mc d"
    assert len(masked("x" * 1000, [])) == 300


def test_equality_is_that_of_json():
    """1, 1.0, true and "1" are four values, at any depth."""
    values = [1, 1.0, True, "1"]
    for one in values:
        for two in values:
            assert same({"a": [one]}, {"a": [two]}) is (one is two)
