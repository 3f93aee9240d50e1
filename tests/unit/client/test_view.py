"""Reading: what a look-up gives, and what it never does."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemudi.client import SecretUnreadableError, SettingNotFoundError
from kemudi.client.testing import InMemoryClient
from kemudi.schema.secret import Secret

KEYS = st.sampled_from(["A", "B", "C", "D", "E"])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)


def test_a_layer_wins_over_the_contract(bench):
    """A value that a layer sets is served, otherwise the contract's default."""
    config = bench.start({"sync": {"A": 1}}, defaults={"sync": {"A": 5, "B": 6}})
    assert (config["A"], config["B"]) == (1, 6)
    assert (config.get("A"), config.get("B")) == (1, 6)


def test_a_default_of_the_caller_wins_over_the_contracts(bench):
    """`get(key, default=X)` is X when no layer sets the key, also when X is None and the contract has a default."""
    config = bench.start({"sync": {"A": 1}}, defaults={"sync": {"B": 6}})
    assert config.get("A", default=9) == 1
    assert config.get("B", default=9) == 9
    assert config.get("B", None) is None
    assert config.get("B") == 6
    assert config.get("NOWHERE", default=9) == 9
    assert config.get("NOWHERE") is None


def test_a_null_of_a_layer_is_a_value(bench):
    """A layer that sets null has set the key."""
    config = bench.start({"sync": {"A": None}})
    assert config["A"] is None
    assert config.get("A", default=9) is None
    assert "A" in config


@given(
    layer=st.dictionaries(KEYS, VALUES),
    contract=st.dictionaries(KEYS, VALUES),
    reads=st.lists(st.tuples(KEYS, st.one_of(st.just(...), VALUES)), max_size=20),
)
def test_resolution_is_layer_then_default_then_contract(layer, contract, reads):
    """For any settings and any order of reads: layer, else the caller's default, else the contract's, else None."""
    from kemudi.client.client import Client
    from kemudi.client.secrets import SecretReader
    from kemudi.client.serving import Serving
    from kemudi.client.snapshot import CategoryData, Snapshot
    from kemudi.schema.generation import Generation
    from kemudi.store.keyfiles import KeyFile

    rest = {key: value for key, value in contract.items() if key not in layer}
    category = CategoryData("sync", layer, rest, {})
    snapshot = Snapshot("repo", "dev", "0" * 40, Generation(0, 1, 0), "redis", {"sync": category})
    config = Client(Serving(snapshot, SecretReader(KeyFile.fixed(None)), threaded=False), None)
    for key, default in reads:
        if default is ...:
            assert config.get(key) == layer.get(key, contract.get(key))
        else:
            assert config.get(key, default) == layer.get(key, default)
        assert (key in config) == (key in layer or key in contract)
        if key in config:
            assert config[key] == layer.get(key, contract.get(key))
            assert type(config[key]) is not list
        else:
            with pytest.raises(KeyError):
                config[key]


def test_an_unknown_setting_names_the_nearest(bench):
    """KeyError says which setting was probably meant, as one readable sentence."""
    config = bench.start({"sync": {"SYNC_BATCH_SIZE": 1}})
    with pytest.raises(KeyError, match="no setting 'SYNC_BATCHSIZE'; did you mean 'SYNC_BATCH_SIZE'"):
        config["SYNC_BATCHSIZE"]
    with pytest.raises(SettingNotFoundError, match="no category 'synk'; did you mean 'sync'"):
        config.category("synk")


def test_an_unknown_setting_among_very_many_is_quick(bench):
    """The nearest of 20,000 names is found by its beginning, and a caught error looks for nothing."""
    config = bench.start(
        {"sync": {f"SYNC_{number}": number for number in range(20_000)} | {"GRAPH_LIMIT": 1}}
    )
    with pytest.raises(KeyError, match="did you mean 'GRAPH_LIMIT'"):
        config["GRAPH_LIMITS"]
    assert config.get("SYNC_X") is None


def test_without_any_snapshot_the_error_says_so(bench):
    """With nothing loaded and nothing declared, a KeyError says why."""
    bench.serving.start()
    from kemudi.client.client import Client

    config = Client(bench.serving, None)
    with pytest.raises(KeyError, match="no snapshot has been loaded"):
        config["SYNC_BATCH_SIZE"]
    assert (config.revision, config.generation) == (None, None)


def test_lists_and_objects_cannot_be_changed():
    """A served list or object refuses every mutator, equals a plain one and serialises like it."""
    plain = {"weights": {"a": [1, {"b": 2}]}}
    config = InMemoryClient({"W": plain})
    served = config["W"]
    assert served == plain
    assert json.loads(json.dumps(served)) == plain
    assert orjson.loads(orjson.dumps(served)) == plain
    with pytest.raises(TypeError, match="cannot be changed"):
        served["weights"]["a"].append(3)
    with pytest.raises(TypeError):
        served["weights"]["a"][1]["b"] = 3
    plain["weights"]["a"].append(9)
    assert config["W"] == {"weights": {"a": [1, {"b": 2}]}}


def test_a_pinned_view_stays(bench):
    """A view says the same for its whole life, also of settings first read after the swap."""
    config = bench.start({"sync": {"A": 1, "B": 1}})
    with config.pin() as view:
        assert view["A"] == 1
        bench.offer({"sync": {"A": 2, "B": 2}})
        assert (config["A"], config["B"]) == (2, 2)
        assert (view["A"], view["B"], view.get("B"), view.generation) == (1, 1, 1, "0.1.0")
        assert dict(view.category("sync")) == {"A": 1, "B": 1}


def test_categories_and_all(bench):
    """`.category` and `.all` are mappings of one moment, in order of name, that a swap leaves alone."""
    config = bench.start({"sync": {"B": 2, "A": 1}, "neo4j": {"U": "x"}}, defaults={"sync": {"C": 3}})
    sync, everything = config.category("sync"), config.all()
    bench.offer({"sync": {"A": 9}})
    assert list(sync.items()) == [("A", 1), ("B", 2), ("C", 3)]
    assert dict(everything) == {"A": 1, "B": 2, "C": 3, "U": "x"}
    assert dict(config.all()) == {"A": 9}
    assert list(config) == ["A"]
    assert len(config) == 1
    with pytest.raises(KeyError):
        sync["U"]


def test_a_secret_is_masked_and_opened_on_reading(bench):
    """A sealed setting is a Secret with the plaintext inside, and shows it nowhere."""
    config = bench.start({"neo4j": {"P": Secret("hunter2")}})
    assert isinstance(config["P"], Secret)
    assert config["P"].reveal() == "hunter2"
    assert (
        "hunter2"
        not in f"{config['P']} {config!r} {config.all()!r} {json.dumps(dict(config.all()), default=str)}"
    )


def test_without_a_keyset_only_the_secret_is_unreadable(bench_with):
    """Reading a secret without its keyset raises an error that names KEMUDI_KEYSET; other settings are fine."""
    bench = bench_with(None)
    config = bench.start({"neo4j": {"P": Secret("hunter2"), "U": "me"}})
    assert config["U"] == "me"
    for _ in range(2):
        with pytest.raises(SecretUnreadableError, match="KEMUDI_KEYSET"):
            config["P"]
    with pytest.raises(SecretUnreadableError):
        config.get("P", default="other")


def test_a_keyset_of_other_categories_says_so(bench_with):
    """The error of a keyset that does not cover the category names what it covers."""
    from kemudi.store.sealing import KeysetBundle

    bench = bench_with(KeysetBundle.generate(["billing"]))
    config = bench.start({"neo4j": {"P": Secret("hunter2")}})
    with pytest.raises(SecretUnreadableError, match="covers billing"):
        config["P"]


def test_a_member_of_an_enum_is_a_name(bench):
    """Any kind of text that equals a name reads it, also before the name itself was read."""
    from enum import Enum, StrEnum

    class Modern(StrEnum):
        A = "A"

    class Classic(str, Enum):  # noqa: UP042 - how it was written before StrEnum
        B = "B"

    config = bench.start({"sync": {"A": 1, "B": 2}})
    assert (config[Modern.A], config.get(Classic.B), config["A"], config["B"]) == (1, 2, 1, 2)
    assert all(type(key) is str for key in config._cache)


def test_names_read_are_noted_once_and_kept(bench):
    """Which settings were read is known across swaps; settings that nobody read are not listed."""
    config = bench.start({"sync": {"A": 1, "B": 2, "C": 3}})
    config["A"], config.get("A")
    bench.offer({"sync": {"A": 2, "B": 2, "C": 3}})
    config.category("sync")["B"]
    assert bench.serving.keys_read == {"A", "B"}
    assert "C" in config
    assert bench.serving.keys_read == {"A", "B"}
