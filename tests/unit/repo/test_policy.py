"""Policies: what each one refuses, when, what lifts it, and that a mistake in one is found at its place."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kemudi.repo.plan import Plan, plan
from kemudi.repo.policy import Approval, PolicyContext, approval, judge, policies_of, read_policies
from kemudi.repo.verdict import refused
from kemudi.schema.state import ConfigState, File

MANIFEST = """\
format: 1
id: 0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21
environments:
  - {name: dev}
  - {name: staging}
  - {name: prod}
policies:
"""
CONTRACT = """{"type": "object", "properties": {
  "SIZE": {"type": "integer", "default": 100, "description": "a", "x-kemudi-owner": "data"},
  "RATE": {"type": "number", "default": 0, "description": "b"},
  "STOP": {"type": "boolean", "default": false, "description": "c", "x-kemudi-owner": "data"}
}}"""
MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

Judged = Callable[..., Plan]


def state(policies: str, values: str = "") -> ConfigState:
    contents = {
        "kemudi.yaml": MANIFEST + policies,
        "contracts/sync.schema.json": CONTRACT,
        "prod/sync.yaml": values,
    }
    made = ConfigState.load(File(path, text.encode()) for path, text in contents.items())
    assert not made.findings, made.findings
    return made


def judged(policies: str, after: str, before: str = "", **context: Any) -> Plan:
    """The plan of a change of prod, by one policy."""
    old = state(policies, before)
    read = policies_of(old)
    assert not read.findings, read.findings
    found = plan(old, state(policies, after), base=None, head="x")
    return judge(found, read.policies, PolicyContext(**{"now": MONDAY, **context}))


def rules(found: Plan) -> list[str]:
    return [each.rule for each in refused(found)]


@pytest.mark.parametrize(
    ("before", "after", "refusal"),
    [
        ("SIZE: 100", "SIZE: 150", None),
        ("SIZE: 100", "SIZE: 151", "+51 %"),
        ("SIZE: 100", "SIZE: 50", None),
        ("SIZE: 100", "SIZE: 49", "-51 %"),
        ("SIZE: -100", "SIZE: -10", "+90 %"),
        ("RATE: 0", "RATE: 0.1", "from 0"),
        ("STOP: false", "STOP: true", None),
        ("", "SIZE: 1000", "+900 %"),
    ],
)
def test_a_number_may_change_by_so_much(before: str, after: str, refusal: str | None) -> None:
    """Measured in percent of the value before, resolved: an override of a default is a change, too."""
    found = judged("  - {rule: change-size, environments: [prod], percent: 50}\n", after, before)
    assert rules(found) == (["KEM082"] if refusal else [])
    if refusal:
        (finding,) = refused(found)
        assert refusal in finding.message
        assert (finding.file, finding.line, finding.key) == ("prod/sync.yaml", 1, after.partition(":")[0])


def test_only_its_scope_is_judged() -> None:
    """Environment, category and setting narrow a policy; a warning stops nothing."""
    for scope in ("environments: [dev]", "categories: [other]", "keys: [RATE]", "level: warning"):
        found = judged(f"  - {{rule: change-size, percent: 1, {scope}}}\n", "SIZE: 900")
        assert refused(found) == ()
    assert rules(judged("  - {rule: change-size, percent: 1, keys: [S*]}\n", "SIZE: 900")) == ["KEM082"]


def test_a_reason_is_required_once_it_can_be_known() -> None:
    """None = not committed yet: a warning. A short one says how long it is."""
    policy = "  - {rule: reason, environments: [prod], minimum: 10}\n"
    assert rules(judged(policy, "SIZE: 1", reason="too short")) == ["KEM081"]
    assert rules(judged(policy, "SIZE: 1", reason="   \n  ")) == ["KEM081"]
    assert rules(judged(policy, "SIZE: 1", reason="the cluster is larger now")) == []
    unknown = judged(policy, "SIZE: 1")
    assert [(each.rule, each.severity) for each in unknown.findings] == [("KEM081", "warning")]
    assert judged(policy, "", reason="").findings == ()


WEEKEND = """\
  - rule: freeze
    environments: [prod]
    timezone: Asia/Jakarta
    windows: [{from: fri 16:00, to: mon 08:00}]
"""


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (datetime(2026, 11, 20, 8, 59, tzinfo=UTC), None),  # Friday 15:59 in Jakarta
        (datetime(2026, 11, 20, 9, 0, tzinfo=UTC), "Mon 2026-11-23 08:00"),
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), "Mon 2026-11-23 08:00"),
        (datetime(2026, 11, 23, 1, 0, tzinfo=UTC), None),  # Monday 08:00 in Jakarta
    ],
)
def test_a_freeze_follows_the_clock_of_its_time_zone(now: datetime, until: str | None) -> None:
    """The window opens and closes to the minute, over midnight and over the end of the week."""
    found = judged(WEEKEND, "SIZE: 1", now=now)
    assert rules(found) == (["KEM083"] if until else [])
    if until:
        assert until in refused(found)[0].message


@pytest.mark.parametrize(
    ("windows", "frozen"),
    [
        ("{from: 22:00, to: 06:00}", [0, 5, 22, 23]),
        ("{from: 06:00, to: 22:00}", list(range(6, 22))),
        ("{from: mon, to: mon}", list(range(24))),
        ("{from: tue, to: sun}", []),
        ("{from: mon, to: sun}", list(range(24))),
        ("{from: 2026-11-23, to: 2026-11-23}", list(range(24))),
        ("{from: 2026-11-23 10:00, to: 2026-11-23 12:00}", [10, 11]),
        ("{from: 2026-11-20, to: 2026-11-22}", []),
    ],
)
def test_windows_are_daily_weekly_or_once(windows: str, frozen: list[int]) -> None:
    """Of the hours of one Monday, exactly those in a window are frozen."""
    policy = f"  - {{rule: freeze, windows: [{windows}]}}\n"
    hours = [h for h in (0, 5, *range(6, 24)) if rules(judged(policy, "SIZE: 1", now=MONDAY.replace(hour=h)))]
    assert hours == [h for h in frozen if h in (0, 5, *range(6, 24))]


PROMOTION = "  - {rule: promotion, environments: [prod], from: staging, hours: 24}\n"


def test_a_value_must_have_run_before_it_is_promoted() -> None:
    """So long, this very value, by the log; without evidence it has not run. Removal needs none."""

    def since(hours: float) -> Callable[..., datetime | None]:
        def ask(env: str, key: str, value: object) -> datetime | None:
            assert env == "staging"
            return MONDAY - timedelta(hours=hours) if (key, value) == ("SIZE", 7) else None

        return ask

    assert rules(judged(PROMOTION, "SIZE: 7", live_since=since(24))) == []
    assert "23 h 30 min" in refused(judged(PROMOTION, "SIZE: 7", live_since=since(23.5)))[0].message
    assert rules(judged(PROMOTION, "SIZE: 8", live_since=since(99))) == ["KEM084"]
    assert rules(judged(PROMOTION, "SIZE: 7")) == ["KEM084"]


def test_owners_agree() -> None:
    """The author counts; unknown approvals warn; a setting without an owner is refused."""
    policy = "  - {rule: owners, environments: [prod], members: {data: [own@example.org]}}\n"
    assert rules(judged(policy, "SIZE: 7", author="Own <OWN@example.org>")) == []
    assert rules(judged(policy, "SIZE: 7", approvals=("own@example.org",), author="x@example.org")) == []
    assert rules(judged(policy, "SIZE: 7", approvals=(), author="x@example.org")) == ["KEM085"]
    assert rules(judged(policy, "SIZE: 7", author="x@example.org")) == []
    assert rules(judged(policy, "RATE: 7", author="own@example.org")) == ["KEM085"]


def test_approvals_are_different_people_and_not_the_author() -> None:
    """Two voices of one person are one, and one's own is none unless the policy says so."""
    policy = "  - {rule: approvals, environments: [prod], required: 2}\n"
    author = "a@example.org"

    def by(*people: str, own: str = "") -> list[str]:
        return rules(judged(policy.replace("}", own + "}"), "SIZE: 7", author=author, approvals=people))

    assert by("b@example.org", "B <B@example.org>") == ["KEM086"]
    assert by("b@example.org", author) == ["KEM086"]
    assert by("b@example.org", "c@example.org") == []
    assert by("b@example.org", author, own=", own: true") == []
    assert rules(judged(policy, "SIZE: 7", author=author)) == []
    assert rules(judged(policy, "SIZE: 7", author=author, direct=True)) == ["KEM087"]


def test_the_console_is_told_what_a_change_needs() -> None:
    """How many approve, whether one's own counts, whether it may be committed directly, what may go at once."""
    made = state(
        "  - {rule: approvals, environments: [prod], required: 2, categories: [sync]}\n"
        "  - {rule: reason, environments: [prod], minimum: 5}\n"
        "  - {rule: proposals-only, environments: [staging]}\n"
        "  - {rule: break-glass, keys: [STOP]}\n"
    )
    policies = policies_of(made).policies
    assert approval(policies, "dev", ["sync"]) == Approval(break_glass=("STOP",))
    prod = approval(policies, "prod", ["sync"])
    assert (prod.required, prod.own_allowed, prod.direct_commit, prod.reason_minimum) == (2, False, False, 5)
    assert (
        approval(policies, "prod", ["other"]).required,
        approval(policies, "prod", ["other"]).direct_commit,
    ) == (0, True)
    assert not approval(policies, "staging", ["sync"]).direct_commit
    assert prod.is_break_glass("STOP")
    assert not prod.is_break_glass("SIZE")


def test_break_glass_lifts_all_but_the_reason() -> None:
    """A kill switch works in a freeze, without promotion and without a second person; but it says why."""
    policies = WEEKEND + PROMOTION + "  - {rule: break-glass, keys: [STOP]}\n  - {rule: proposals-only}\n"
    policies += "  - {rule: approvals, required: 1}\n  - {rule: reason}\n"
    frozen = datetime(2026, 11, 22, tzinfo=UTC)
    assert rules(judged(policies, "STOP: true", now=frozen, direct=True, reason="")) == ["KEM081"]
    assert rules(judged(policies, "STOP: true", now=frozen, direct=True, reason="it burns")) == []
    assert {"KEM083", "KEM084", "KEM087"} <= set(
        rules(judged(policies, "STOP: true\nSIZE: 7", now=frozen, direct=True, reason="it burns"))
    )


def test_an_exception_sets_aside_one_rule_and_stays_visible() -> None:
    """By id or name, with a reason; the finding stays as a warning that repeats it."""
    policy = "  - {rule: change-size, percent: 1}\n" + WEEKEND
    frozen = datetime(2026, 11, 22, tzinfo=UTC)
    for name in ("KEM082", "change-size", "kem082"):
        trailers = (("Kemudi-Exception", f"{name} a new cluster"),)
        found = judged(policy, "SIZE: 7", now=frozen, trailers=trailers)
        assert rules(found) == ["KEM083"]
        assert [(each.rule, each.why, each.findings) for each in found.exceptions] == [
            ("KEM082", "a new cluster", 1)
        ]
        warned = [each for change in found.changes for each in change.findings if each.severity == "warning"]
        assert "set aside: a new cluster" in warned[0].message
    both = {"kemudi-exception": "freeze the outage cannot wait"}
    assert rules(judged(policy, "SIZE: 100\nRATE: 0", now=frozen, trailers=both)) == []


@pytest.mark.parametrize(
    ("policy", "trailer", "rule"),
    [
        ("  - {rule: change-size, percent: 1}\n", "change-size", "KEM082"),
        ("  - {rule: change-size, percent: 1}\n", "chnge-size why", "KEM082"),
        ("  - {rule: change-size, percent: 1, exceptions: false}\n", "change-size why", "KEM082"),
        ("  - {rule: owners}\n", "owners because I say so", "KEM085"),
        ("  - {rule: reason}\n", "reason none", "KEM081"),
    ],
)
def test_an_exception_that_is_none_says_so(policy: str, trailer: str, rule: str) -> None:
    """Without a reason, of no rule, or of a rule that nobody may set aside: it stands, and the trailer is a finding."""
    found = judged(policy, "SIZE: 7\nRATE: 1", trailers=(("Kemudi-Exception", trailer),), reason="")
    assert rule in rules(found)
    assert "KEM088" in [each.rule for each in found.findings]
    assert found.exceptions == ()


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("{rule: chnge-size, percent: 5}", "chnge", "no policy"),
        ("{rule: change-size}", "{", "percent must be a number"),
        ("{rule: change-size, percent: many}", "many", "percent must be a number"),
        ("{rule: change-size, percent: 5, environments: [prd]}", "prd", "no environment prd"),
        ("{rule: change-size, percent: 5, windows: []}", "windows", "no field windows"),
        ("{rule: freeze, timezone: Mars/Olympus, windows: []}", "Mars", "no time zone"),
        ("{rule: freeze, timezone: /etc/passwd, windows: []}", "/etc", "no time zone"),
        ("{rule: freeze, windows: [{from: fri 25:00, to: mon}]}", "fri", "no moment"),
        ("{rule: freeze, windows: [{from: fri, to: 2026-01-01}]}", "2026", "starts weekly and ends once"),
        ("{rule: freeze, windows: [{from: 2026-02-30, to: 2026-03-01}]}", "2026-02", "no moment"),
        ("{rule: freeze, windows: [{from: 2026-03-02, to: 2026-02-01}]}", "2026-02", "ends before it starts"),
        ("{rule: promotion, from: nowhere}", "nowhere", "no environment nowhere"),
        ("{rule: break-glass}", "{", "keys must"),
        ("{rule: reason, level: maybe}", "maybe", "level must be error or warning"),
        ("just text", "just", "must be a mapping"),
    ],
)
def test_a_mistake_in_a_policy_is_found_at_its_place(text: str, at: str, said: str) -> None:
    """KEM080 at file, line and column; nothing is read by half."""
    made = state(f"  - {text}\n")
    found = policies_of(made)
    assert found.policies == ()
    (first, *_) = found.findings
    assert said in first.message
    assert (first.file, first.rule, first.line) == ("kemudi.yaml", "KEM080", 8)
    assert first.column == len("  - ") + text.index(at) + 1
    assert made.manifest is not None
    assert read_policies(made.manifest).findings, "also without the bytes of the file"


def test_the_policies_of_the_documentation_are_right() -> None:
    """Every policy shown in the reference reads without a finding, the mistaken one of KEM080 with its own."""
    pages = Path(__file__).parents[3] / "docs" / "reference"
    blocks = re.findall(r"```yaml\npolicies:\n(.*?)```", (pages / "policies.md").read_text(), re.DOTALL)
    for page in sorted((pages / "rules").glob("KEM08*.md")):
        found = re.findall(r"```yaml\npolicies:\n(.*?)```", page.read_text(), re.DOTALL)
        if page.stem == "KEM080":
            assert [each.rule for each in policies_of(state(found[0])).findings] == ["KEM080"]
        else:
            blocks += found
    assert len(blocks) > 5
    for block in blocks:
        read = policies_of(state(block))
        assert read.findings == ()
        assert read.policies
