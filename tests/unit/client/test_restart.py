"""Settings that require a restart."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.client.testing import override
from kemudi.schema.secret import Secret

RESTART = {"neo4j": {"URI", "P", "NEW"}}


def test_a_restart_setting_keeps_its_first_value(bench):
    """A later value is not served but listed as pending; the same value again clears it."""
    config = bench.start({"neo4j": {"URI": "a", "LIVE": 1}}, restart=RESTART)
    bench.offer({"neo4j": {"URI": "b", "LIVE": 2}}, restart=RESTART)
    assert (config["URI"], config["LIVE"]) == ("a", 2)
    assert bench.serving.restart_pending == ("URI",)
    assert config.health().restart_pending == ("URI",)
    assert config.generation == "0.2.0"
    bench.offer({"neo4j": {"URI": "a", "LIVE": 3}}, restart=RESTART)
    assert bench.serving.restart_pending == ()
    assert config["URI"] == "a"


def test_a_setting_that_appears_later_is_new(bench):
    """What was absent at start is served when it comes, and pinned from then on."""
    config = bench.start({"neo4j": {"URI": "a"}}, restart=RESTART)
    bench.offer({"neo4j": {"URI": "a", "NEW": 1}}, restart=RESTART)
    assert config["NEW"] == 1
    assert bench.serving.restart_pending == ()
    bench.offer({"neo4j": {"URI": "a", "NEW": 2}}, restart=RESTART)
    assert config["NEW"] == 1
    assert bench.serving.restart_pending == ("NEW",)


def test_a_removed_setting_stays_until_the_restart(bench):
    """The process goes on with the value it started with, also when its whole category goes."""
    config = bench.start({"neo4j": {"URI": "a"}}, restart=RESTART)
    bench.offer({"sync": {"A": 1}})
    assert config["URI"] == "a"
    assert "URI" in config.all()
    assert config.category("neo4j")["URI"] == "a"
    assert bench.serving.restart_pending == ("URI",)


def test_a_setting_becomes_and_stops_being_a_restart_setting(bench):
    """A setting that starts to require a restart keeps what was served; one that no longer does is live."""
    config = bench.start({"neo4j": {"URI": "a"}})
    bench.offer({"neo4j": {"URI": "b"}}, restart=RESTART)
    assert config["URI"] == "a"
    assert bench.serving.restart_pending == ("URI",)
    bench.offer({"neo4j": {"URI": "c"}})
    assert config["URI"] == "c"
    assert bench.serving.restart_pending == ()


def test_a_secret_that_is_sealed_anew_is_unchanged(bench):
    """Only another plaintext makes a sealed restart setting pending."""
    config = bench.start({"neo4j": {"P": Secret("one")}}, restart=RESTART)
    bench.offer({"neo4j": {"P": Secret("one")}}, restart=RESTART)
    assert bench.serving.restart_pending == ()
    bench.offer({"neo4j": {"P": Secret("two")}}, restart=RESTART)
    assert bench.serving.restart_pending == ("P",)
    assert config["P"].reveal() == "one"


def test_a_default_counts_as_the_value_at_start(bench):
    """A contract's default at start is pinned like any value."""
    config = bench.start({}, defaults={"neo4j": {"URI": "a"}}, restart=RESTART)
    bench.offer({"neo4j": {"URI": "b"}}, restart=RESTART)
    assert config["URI"] == "a"
    assert config.get("URI", default="mine") == "mine"


def test_snapshots_before_the_start_do_not_pin(bench):
    """Until the process has started, a newer source replaces everything."""
    bench.serving.offer(bench.snapshot({"neo4j": {"URI": "disk"}}, restart=RESTART))
    config = bench.start({"neo4j": {"URI": "redis"}}, restart=RESTART)
    assert config["URI"] == "redis"
    assert bench.serving.restart_pending == ()


def test_pins_are_no_changes(bench):
    """A subscriber hears of a pinned setting only when what is served changes."""
    config = bench.start({"neo4j": {"URI": "a", "LIVE": 1}}, restart=RESTART)
    seen = []
    config.subscribe("*", seen.append)
    bench.offer({"neo4j": {"URI": "b", "LIVE": 2}}, restart=RESTART)
    assert [change.key for change in seen] == ["LIVE"]
    with override(config, URI="z"):
        assert config["URI"] == "z"
    assert [(change.key, change.old, change.new) for change in seen[1:]] == [
        ("URI", "a", "z"),
        ("URI", "z", "a"),
    ]


NAMES = st.sampled_from(["A", "B", "C", "D"])
CATEGORY = st.tuples(st.dictionaries(NAMES, st.integers(0, 2)), st.sets(NAMES))
SNAPSHOTS = st.lists(st.dictionaries(st.sampled_from(["one", "two"]), CATEGORY), min_size=1, max_size=8)


def _disjoint(snapshot):
    """A key belongs to one category: the first that has it."""
    values, restart, taken = {}, {}, set()
    for name in sorted(snapshot):
        found, flagged = snapshot[name]
        values[name] = {key: value for key, value in found.items() if key not in taken}
        restart[name] = flagged
        taken.update(found)
    return values, restart


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SNAPSHOTS)
def test_pins_are_those_of_a_plain_model(bench_with, snapshots):
    """For any history of snapshots: what is served, and what is pending, is what the rules say one by one."""
    bench = bench_with()
    pinned, served = {}, {}
    for number, snapshot in enumerate(snapshots):
        values, restart = _disjoint(snapshot)
        flat = {key: value for found in values.values() for key, value in found.items()}
        needs = {key for name, found in values.items() for key in found if key in restart[name]}
        for key, value in flat.items():
            if key not in needs:
                pinned.pop(key, None)
            elif key not in pinned:
                pinned[key] = served.get(key, value)
        served = {**flat, **pinned}
        pending = sorted(key for key, value in pinned.items() if flat.get(key) != value)
        if number == 0:
            config = bench.start(values, restart=restart)
        else:
            assert bench.offer(values, restart=restart) is None
        assert dict(config.all()) == served
        assert list(bench.serving.restart_pending) == pending
