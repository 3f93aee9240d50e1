"""Checks that refuse a snapshot."""

import threading
import time

import pytest

from kemudi.schema.secret import Secret


def test_a_check_that_raises_refuses_the_whole_snapshot(bench):
    """Nothing of a refused snapshot is served: old values, old revision, old generation."""
    config = bench.start({"neo4j": {"URI": "a"}, "sync": {"A": 1}})

    def check(values):
        raise ConnectionError(f"no answer from {values['URI']}")

    config.prepare("neo4j", check)
    refusal = bench.offer({"neo4j": {"URI": "b"}, "sync": {"A": 2}})
    assert refusal.kind == "prepare"
    assert refusal.reason == "neo4j: ConnectionError: no answer from b"
    assert (config["URI"], config["A"], config.generation) == ("a", 1, "0.1.0")


@pytest.mark.parametrize(("answer", "is_refused"), [(False, True), (None, False), (True, False), (0, False)])
def test_only_false_refuses_by_value(bench, answer, is_refused):
    """Returning False refuses; anything else, None included, consents."""
    config = bench.start({"neo4j": {"URI": "a"}})
    config.prepare("neo4j", lambda _values: answer)
    assert (bench.offer({"neo4j": {"URI": "b"}}) is not None) is is_refused
    assert config["URI"] == ("a" if is_refused else "b")


def test_a_check_is_asked_only_when_its_settings_change(bench):
    """A check of a category or a glob sees exactly its settings as they would be, when one of them changes."""
    config = bench.start({"neo4j": {"URI": "a"}, "sync": {"SYNC_A": 1, "OTHER": 1}})
    asked = []
    config.prepare("neo4j", lambda values: asked.append(dict(values)))
    config.prepare("SYNC_*", lambda values: asked.append(dict(values)))
    bench.offer({"neo4j": {"URI": "a"}, "sync": {"SYNC_A": 1, "OTHER": 2}})
    assert asked == []
    bench.offer({"neo4j": {"URI": "b", "NEW": 1}, "sync": {"SYNC_A": 2, "OTHER": 2}})
    assert asked == [{"URI": "b", "NEW": 1}, {"SYNC_A": 2}] or asked == [
        {"SYNC_A": 2},
        {"URI": "b", "NEW": 1},
    ]


def test_a_check_sees_the_removal_of_its_settings(bench):
    """A snapshot without the category is shown as an empty mapping."""
    config = bench.start({"neo4j": {"URI": "a"}, "sync": {"A": 1}})
    config.prepare("neo4j", lambda values: "URI" in values)
    assert bench.offer({"sync": {"A": 1}}) is not None
    assert config["URI"] == "a"


def test_a_restart_setting_is_checked_with_its_new_value(bench):
    """What would only come with a restart is checked now, and refused now."""
    restart = {"neo4j": {"URI"}}
    config = bench.start({"neo4j": {"URI": "a"}}, restart=restart)
    config.prepare("neo4j", lambda values: values["URI"] != "bad")
    assert bench.offer({"neo4j": {"URI": "bad"}}, restart=restart) is not None
    assert bench.serving.restart_pending == ()
    assert bench.offer({"neo4j": {"URI": "good"}}, restart=restart) is None
    assert bench.serving.restart_pending == ("URI",)
    assert config["URI"] == "a"


def test_a_newer_snapshot_is_compared_with_what_is_served(bench):
    """After a refusal the next snapshot is checked against the one in force, so a reverted change asks nobody."""
    config = bench.start({"neo4j": {"URI": "a"}, "sync": {"A": 1}})
    asked = []
    config.prepare("neo4j", lambda values: asked.append(values["URI"]) or values["URI"] == "ok")
    assert bench.offer({"neo4j": {"URI": "b"}, "sync": {"A": 2}}) is not None
    assert bench.offer({"neo4j": {"URI": "a"}, "sync": {"A": 3}}) is None
    assert asked == ["b"]
    assert config["A"] == 3


def test_a_reason_holds_no_secret(bench):
    """Old and new secrets are masked in a reason in every usual spelling, and the reason is one bounded line."""
    config = bench.start({"neo4j": {"P": Secret("old secret/1"), "URI": "a"}})

    def check(values):
        text = (
            f"cannot log in with {values['P'].reveal()!r} nor old%20secret%2F1\nnor b2xkIHNlY3JldC8x "
            + "x" * 900
        )
        raise ValueError(text)

    config.prepare("neo4j", check)
    reason = bench.offer({"neo4j": {"P": Secret('new "secret"'), "URI": "a"}}).reason
    assert "secret" not in reason
    assert "b2xk" not in reason
    assert "***" in reason
    assert "\n" not in reason
    assert len(reason) <= 300


def test_a_hanging_check_refuses_in_time_and_is_not_piled_up(bench):
    """A check that gives no answer refuses after its time limit; while it hangs it is not called again."""
    config = bench.start({"neo4j": {"URI": "a"}})
    gate, calls = threading.Event(), []

    def check(values):
        calls.append(values["URI"])
        gate.wait(30)

    config.prepare("neo4j", check, timeout=0.05)
    begun = time.monotonic()
    for value in ("b", "c", "d"):
        refusal = bench.offer({"neo4j": {"URI": value}})
        assert "no answer in 0.05 s" in refusal.reason
    assert time.monotonic() - begun < 5
    assert calls == ["b"]
    gate.set()


def test_an_answer_to_an_older_snapshot_does_not_count(bench, wait_until):
    """While a slow check still looks at older values a newer snapshot is refused; then it is asked anew."""
    config = bench.start({"neo4j": {"URI": "a"}})
    gate, asked = threading.Event(), []

    def check(values):
        asked.append(values["URI"])
        return gate.wait(30) and values["URI"] != "bad"

    config.prepare("neo4j", check, timeout=0.05)
    assert "gave no answer" in bench.offer({"neo4j": {"URI": "slow"}}).reason
    assert "earlier call" in bench.offer({"neo4j": {"URI": "bad"}}).reason
    gate.set()
    wait_until(lambda: "earlier call" not in bench.offer({"neo4j": {"URI": "bad"}}).reason)
    assert bench.offer({"neo4j": {"URI": "bad"}}).reason == "neo4j: the check refused"
    assert asked[0] == "slow"
    assert config["URI"] == "a"


def test_a_check_that_exits_refuses(bench):
    """SystemExit in a check is a refusal, not consent."""
    config = bench.start({"neo4j": {"URI": "a"}})

    def check(_values):
        raise SystemExit(3)

    config.prepare("neo4j", check)
    assert bench.offer({"neo4j": {"URI": "b"}}) is not None


def test_a_closed_check_is_not_asked(bench):
    """After close a snapshot is served without asking."""
    config = bench.start({"neo4j": {"URI": "a"}})
    with config.prepare("neo4j", lambda _values: False):
        assert bench.offer({"neo4j": {"URI": "b"}}) is not None
    assert bench.offer({"neo4j": {"URI": "b"}}) is None


def test_checks_run_at_once(bench):
    """Two checks wait for each other: they run at the same time, so the slowest alone sets the wait."""
    config = bench.start({"neo4j": {"URI": "a"}})
    barrier = threading.Barrier(2, timeout=5)
    for _ in range(2):
        config.prepare("neo4j", lambda _values: barrier.wait() >= 0)
    assert bench.offer({"neo4j": {"URI": "b"}}) is None
