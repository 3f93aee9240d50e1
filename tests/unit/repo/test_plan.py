"""The plan: exactly the difference that an environment will see, in every form, and nothing of a secret."""

import json
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kemudi.repo.markdown import code, prose
from kemudi.repo.plan import Plan, plan, with_readers
from kemudi.repo.plan_text import as_markdown, as_text
from kemudi.repo.secrets import seal
from kemudi.schema.envelope import Context
from kemudi.schema.state import ConfigState, File

REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
KEY = "age1js6vukjehvcv552flfp64vg00k8rz3rmcnnmez23wqe63uucpg4s9y5xq9"
MANIFEST = f"""\
format: 1
id: {REPO_ID}
environments:
  - {{name: dev, layers: [base, dev], reject: category}}
  - {{name: prod, layers: [base, prod]}}
"""


def contract(**properties: dict[str, Any]) -> str:
    described = {key: {"description": f"About {key}.", **value} for key, value in properties.items()}
    return json.dumps({"type": "object", "properties": described}, indent=1)


SYNC = {
    "SIZE": {
        "type": "integer",
        "minimum": 1,
        "default": 10,
        "x-kemudi-unit": "rows",
        "x-kemudi-owner": "data",
    },
    "NAME": {"type": "string", "default": "x"},
    "URI": {"type": "string", "default": "a", "x-kemudi-requires-restart": True},
    "RATE": {"type": "number", "default": 1},
    "PASSWORD": {"type": "string", "x-kemudi-sensitive": True},
}
FILES = {
    "kemudi.yaml": MANIFEST,
    "recipients.yaml": f"recipients:\n  d: {{key: {KEY}, kind: daemon}}\nenvironments:\n  dev: [d]\n  prod: [d]\n",
    "contracts/sync.schema.json": contract(**SYNC),
    "contracts/other.schema.json": contract(FLAG={"type": "boolean", "default": False}),
    "base/sync.yaml": "SIZE: 20\n",
    "prod/sync.yaml": "SIZE: 50\n",
}


def sealed(layer: str, value: str) -> str:
    return seal(Context(REPO_ID, layer, "sync", "PASSWORD"), "string", value, [KEY])


def state(changes: dict[str, str | None] | None = None) -> ConfigState:
    contents = {**FILES, **(changes or {})}
    return ConfigState.load(File(path, text.encode()) for path, text in contents.items() if text is not None)


def planned(changes: dict[str, str | None], before: dict[str, str | None] | None = None) -> Plan:
    old = state(before)
    assert not old.findings, old.findings
    after = {path: None if text is None else File(path, text.encode()) for path, text in changes.items()}
    return plan(old, old.update(after), base="a" * 40, head="b" * 40)


def effects(found: Plan) -> set[tuple[str, str, str, Any, Any]]:
    return {(each.env, each.key, each.kind, each.old, each.new) for each in found.changes}


def test_a_base_value_reaches_only_environments_that_do_not_override_it() -> None:
    """The effect is told after the layers, and where a higher layer hides it that is said, with the place."""
    found = planned({"base/sync.yaml": "SIZE: 30\n"})
    assert effects(found) == {("dev", "SIZE", "change", 20, 30)}
    (quiet,) = found.quiet
    assert (quiet.why, quiet.environments, quiet.key) == ("hidden", ("prod",), "SIZE")
    assert "prod/sync.yaml:1" in quiet.message
    (change,) = found.changes
    assert (change.old_layer, change.new_layer, change.unit, change.owner) == ("base", "base", "rows", "data")
    assert "20 → 30 rows  at once  base  owner data" in as_text(found)


def test_a_removed_override_is_a_change_to_what_lies_below() -> None:
    """Nothing vanishes: the value becomes that of the layer below, or the default."""
    found = planned({"prod/sync.yaml": "", "base/sync.yaml": None})
    assert effects(found) == {("dev", "SIZE", "change", 20, 10), ("prod", "SIZE", "change", 50, 10)}
    assert {each.new_layer for each in found.changes} == {"default"}


def test_what_changes_nothing_is_said_as_such() -> None:
    """A comment, an override equal to what lies below, and another spelling of a number have no effect."""
    found = planned({"base/sync.yaml": "# why\nSIZE: 20\n", "dev/sync.yaml": "SIZE: 20\nRATE: 1\n"})
    assert effects(found) == set()
    assert {(each.file, each.key, each.why) for each in found.quiet} == {
        ("base/sync.yaml", None, "layout"),
        ("dev/sync.yaml", "SIZE", "same"),
        ("dev/sync.yaml", "RATE", "same"),
    }
    assert "no change in any environment" in as_text(found)


def test_equal_to_python_is_not_equal_when_served() -> None:
    """1 and 1.0 are two values under `number`; a plan that hides one would lie."""
    found = planned({"dev/sync.yaml": "RATE: 1.0\n"})
    assert effects(found) == {("dev", "RATE", "change", 1, 1.0)}


def test_a_sensitive_value_is_never_in_a_plan() -> None:
    """Neither the value nor the ciphertext: two fingerprints say that it changed."""
    before, after = sealed("dev", "canary-one"), sealed("dev", "canary-two")
    found = planned({"dev/sync.yaml": f"PASSWORD: {after}\n"}, {"dev/sync.yaml": f"PASSWORD: {before}\n"})
    (change,) = found.changes
    assert (change.old, change.new, change.sensitive, change.kind) == (None, None, True, "change")
    assert change.fingerprint != change.old_fingerprint
    for text in (as_text(found), as_markdown(found), json.dumps(found.as_json())):
        assert "ENC[" not in text
        assert after[60:100] not in text
        assert str(change.fingerprint) in text
    added = planned({"dev/sync.yaml": f"PASSWORD: {after}\n"})
    assert [(each.kind, each.old_fingerprint) for each in added.changes] == [("add", None)]
    assert [
        each.kind
        for each in planned({"dev/sync.yaml": ""}, {"dev/sync.yaml": f"PASSWORD: {before}\n"}).changes
    ] == ["remove"]


def test_a_setting_that_becomes_sensitive_is_masked_on_both_sides() -> None:
    """The plain value of before is a secret from now on; a report must not repeat it."""
    properties = {**SYNC, "NAME": {"type": "string", "x-kemudi-sensitive": True}}
    text = seal(Context(REPO_ID, "dev", "sync", "NAME"), "string", "n", [KEY])
    found = planned(
        {"contracts/sync.schema.json": contract(**properties), "dev/sync.yaml": f"NAME: {text}\n"},
        {"dev/sync.yaml": "NAME: canary-name\n"},
    )
    assert "canary-name" not in as_text(found) + as_markdown(found) + json.dumps(found.as_json())
    assert any(each.kind == "sensitive" and each.breaks for each in found.contracts)


@pytest.mark.parametrize(
    ("properties", "kind", "said", "breaks"),
    [
        (
            {"SIZE": {**SYNC["SIZE"], "minimum": 30}},
            "limits",
            "minimum 1 → 30",
            "20, the value of dev, is refused",
        ),
        (
            {"SIZE": {**SYNC["SIZE"], "type": "string", "default": "x"}},
            "type",
            "integer → string",
            "narrowed",
        ),
        ({"SIZE": {**SYNC["SIZE"], "type": "number"}}, "type", "integer → number", "widened"),
        (
            {"SIZE": {**SYNC["SIZE"], "default": 11}},
            "default",
            "default 10 → 11; no environment uses it",
            None,
        ),
        ({"NAME": {"type": "string", "default": "y"}}, "default", "it holds in dev, prod", None),
        ({"SIZE": {**SYNC["SIZE"], "x-kemudi-unit": "MiB"}}, "unit", "rows → MiB", "means something else"),
        ({"PASSWORD": {"type": "string", "default": ""}}, "sensitive", "no longer sensitive", "plain text"),
        ({"URI": {"type": "string", "default": "a"}}, "requires-restart", "no longer needs", None),
        ({"SIZE": {**SYNC["SIZE"], "description": "Else."}}, "text", "description", None),
        ({"MORE": {"type": "integer", "default": 3}}, "setting-added", "integer, default 3", None),
    ],
)
def test_a_changed_contract_says_what_it_breaks(
    properties: dict[str, Any], kind: str, said: str, breaks: str | None
) -> None:
    """Every kind of change of a contract is told, with the values and readers that stop working by it."""
    found = planned({"contracts/sync.schema.json": contract(**{**SYNC, **properties})})
    (change,) = [each for each in found.contracts if each.kind == kind]
    assert said in change.message
    assert any(breaks in each for each in change.breaks) if breaks else not change.breaks
    assert change.message in as_text(found)


def test_a_removed_setting_names_the_lines_that_still_set_it() -> None:
    """The findings say it too, but the reviewer of the contract sees it beside the removal."""
    kept = {key: value for key, value in SYNC.items() if key != "SIZE"}
    found = planned({"contracts/sync.schema.json": contract(**kept)})
    (change,) = [each for each in found.contracts if each.kind == "setting-removed"]
    assert "base/sync.yaml:1 still sets it" in change.breaks
    assert found.findings
    cleared = planned(
        {"contracts/sync.schema.json": contract(**kept), "base/sync.yaml": "", "prod/sync.yaml": ""}
    )
    assert effects(cleared) == {("dev", "SIZE", "remove", 20, None), ("prod", "SIZE", "remove", 50, None)}


def test_an_environment_with_errors_keeps_what_it_has() -> None:
    """What the daemon refuses is no effect: all of it with `reject: commit`, one category with `reject: category`."""
    found = planned({"base/sync.yaml": "SIZE: none\n", "base/other.yaml": "FLAG: true\n"})
    assert effects(found) == {("dev", "FLAG", "change", False, True)}
    assert [(each.env, each.refused) for each in found.environments] == [("dev", ("sync",)), ("prod", ("*",))]
    assert [each.rule for each in found.findings] == ["KEM023"]
    assert "refused" in as_text(found)
    gone = planned({"kemudi.yaml": None})
    assert {each.refused for each in gone.environments} == {("*",)}
    assert not list(gone.changes)


def test_environments_and_governing_files_are_told_too() -> None:
    """A new environment, a lost one, a policy, a recipient: whoever approves a value sees that its rules changed."""
    more = MANIFEST.replace("name: prod, layers: [base, prod]", "name: live, layers: [base, prod]")
    found = planned({"kemudi.yaml": more + "policies:\n  - {rule: reason}\n", "recipients.yaml": None})
    assert [(each.env, each.kind) for each in found.environments] == [
        ("dev", "kept"),
        ("live", "added"),
        ("prod", "removed"),
    ]
    said = [each.message for each in found.repository]
    assert any("prod is removed" in each for each in said)
    assert any("live is new" in each for each in said)
    assert any("policies change" in each for each in said)
    assert any("d can no longer read secrets of prod" in each for each in said)


def test_readers_stand_beside_each_change() -> None:
    """Nobody asked is not the same as nobody reads."""
    found = planned({"dev/sync.yaml": "SIZE: 5\n"})
    assert "read by" not in as_text(found)
    told = with_readers(found, {"dev": {"SIZE": ("worker",)}})
    assert [each.readers for each in told.changes] == [("worker",)]
    assert "| worker |" in as_markdown(told)
    assert "read by nobody now" in as_text(with_readers(found, {}))


# What a browser would make of a table: the text of each cell.
class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002  # as the base calls it
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


NASTY = [
    "a|b",
    "`",
    "``` x ```",
    "a\nb | c",
    "<script>alert(1)</script>",
    "<!-- -->",
    "](http://x) ![a](b)",
    "@everyone",
    "\u202eevil",
    "a\\|b",
    "\\",
    " ",
    "",
    "| --- |",
    "\x1b[31m",
    "*x*_y_~z~",
    "::error::x",
]


@pytest.mark.parametrize("value", NASTY)
def test_a_value_cannot_leave_its_cell(value: str) -> None:
    """Whatever a value holds, the table keeps its columns and the value is shown, not interpreted."""
    found = planned({"dev/sync.yaml": f"NAME: {json.dumps(value)}\n"})
    if value == "\u202eevil":
        found = planned({"dev/sync.yaml": 'NAME: "\\u202Eevil"\n'})
    text = as_markdown(found)
    cells = _Cells()
    cells.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    (row,) = [each for each in cells.rows if each[0] == "NAME"]
    assert len(row) == 6
    shown = "".join(f"\\u{ord(c):04x}" if c == "\u202e" else c for c in json.dumps(value, ensure_ascii=False))
    assert " ".join(row[2].split()) == " ".join(shown.split())
    assert cells.tags <= {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code"}
    assert "\x1b" not in as_text(found)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_prose_and_code_show_what_they_are_given(text: str) -> None:
    """Any text comes out as it went in, as one line, without markup."""
    for rendered in (prose(text), code(text)):
        assert "\n" not in rendered
        page = _Cells()
        page.feed(
            MarkdownIt("commonmark", {"html": True})
            .enable("table")
            .render(f"| a |\n|---|\n| x{rendered}x |\n")
        )
        assert len(page.rows) == 2
        assert len(page.rows[1]) == 1
        assert page.tags <= {"table", "thead", "tbody", "tr", "th", "td", "code"}


def test_a_long_plan_is_cut_and_says_so() -> None:
    """A comment has a limit; what is left out is counted, and what is refused comes first."""
    many = {f"KEY_{number:04d}": {"type": "integer", "default": 1} for number in range(2_000)}
    before = {"contracts/sync.schema.json": contract(**{**SYNC, **many})}
    found = planned({"dev/sync.yaml": "".join(f"{key}: 2\n" for key in many)}, before)
    text = as_markdown(found)
    assert len(text) <= 60_000
    assert "2,000 changes in 1 environment in all" in text
    assert len(as_text(found).splitlines()) > 2_000


# The oracle reads the same text with another parser and lays the layers over each other in four lines.
LAYERS = ("base", "dev", "prod")
KEYS = {"sync": ("SIZE", "RATE", "NAME"), "other": ("FLAG",)}
DEFAULTS = {"SIZE": 10, "RATE": 1, "NAME": "x", "URI": "a", "FLAG": False}
VALUES = {
    "SIZE": st.integers(1, 4),
    "RATE": st.one_of(st.integers(0, 2), st.sampled_from([0.5, 1.0, 2.0])),
    "NAME": st.sampled_from(["x", "y", "", "1", "true", "a|b"]),
    "FLAG": st.booleans(),
}


@st.composite
def repositories(draw: st.DrawFn) -> dict[str, str]:
    texts = {}
    for layer in LAYERS:
        for category, keys in KEYS.items():
            chosen = draw(st.lists(st.sampled_from(keys), unique=True))
            lines = [f"{key}: {json.dumps(draw(VALUES[key]))}\n" for key in chosen]
            texts[f"{layer}/{category}.yaml"] = "".join([draw(st.sampled_from(["", "# note\n"])), *lines])
    return texts


def resolved(texts: dict[str, str], env: str) -> dict[str, Any]:
    values: dict[str, Any] = dict(DEFAULTS)
    for layer in ("base", env):
        for category in KEYS:
            values |= yaml.safe_load(texts[f"{layer}/{category}.yaml"]) or {}
    return values


@settings(deadline=None)
@given(repositories(), repositories())
def test_a_plan_is_the_observed_difference(before: dict[str, str], after: dict[str, str]) -> None:
    """Over random repositories: exactly the values that differ, with what they were and will be; nothing else."""
    old = state(before)  # type: ignore[arg-type]  # no deletions
    new = old.update({path: File(path, text.encode()) for path, text in after.items()})
    found = plan(old, new, base=None, head="x")
    observed = {
        (env, key, json.dumps(was), json.dumps(now))
        for env in ("dev", "prod")
        for (key, was), now in zip(resolved(before, env).items(), resolved(after, env).values(), strict=True)
        if json.dumps(was) != json.dumps(now)
    }
    assert {
        (each.env, each.key, json.dumps(each.old), json.dumps(each.new)) for each in found.changes
    } == observed
    assert found == plan(old, state(after), base=None, head="x")  # type: ignore[arg-type]  # no deletions
    touched = {(env, each.key) for each in found.quiet for env in each.environments}
    assert not touched & {(each.env, each.key) for each in found.changes}


def test_the_wire_form_is_pinned() -> None:
    """Readers of the JSON find the fields that were promised."""
    found = planned({"dev/sync.yaml": "SIZE: 5\n"}).as_json()
    assert {"base", "head", "environments", "contracts", "findings"} <= found.keys()
    change = found["environments"][0]["changes"][0]
    assert {
        "key", "category", "kind", "old", "new", "sensitive", "requires_restart", "readers", "findings", "fingerprint"
    } <= change.keys()  # fmt: skip
