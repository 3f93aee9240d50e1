"""`kemudi.yaml`, `recipients.yaml` and `roles.yaml`: values, and findings at their places."""

from typing import Any

import pytest

from kemudi.schema.manifest import (
    Environment,
    RepoManifest,
    read_manifest,
    read_recipients,
    read_roles,
)

REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
KEY_A = "age1f2wtgnnvklydpate74pdcplt9kdynzn24t45kxwhqc3grk50vans73s2fy"
KEY_B = "age1tg97xxcpcc9y6ffzkgjh444ngph2zkjcknq6fffvkszr2v5xvdeqlcpr0d"
GOOD = f"""\
format: 1
id: {REPO_ID}
environments:
  - name: dev
    mode: worktree
  - name: staging
    layers: [base, shared, staging]
    reject: category
  - {{name: prod}}
services:
  graph: [neo4j, sync]
policies:
  - {{kind: freeze}}
"""


_NAME = "environments[0].name must be a name of a-z, 0-9, - and _, a letter first"
_KEY = "recipients.daemon.key must be an age public key, `age1…`, or an SSH one"
_KIND = "recipients.daemon.kind must be daemon or human or recovery"


def manifest() -> RepoManifest:
    """The manifest of GOOD."""
    found, findings = read_manifest(GOOD.encode())
    assert findings == ()
    assert found is not None
    return found


def test_a_manifest_is_read_with_its_defaults() -> None:
    """Layers are base and the environment's own, commits are served, and a bad commit holds all back."""
    found = manifest()
    assert found.id == REPO_ID
    assert found.environments == (
        Environment("dev", ("base", "dev"), "worktree", "commit"),
        Environment("staging", ("base", "shared", "staging"), "commit", "category"),
        Environment("prod", ("base", "prod"), "commit", "commit"),
    )
    assert found.layers == ("base", "dev", "shared", "staging", "prod")
    assert found.services == {"graph": ("neo4j", "sync")}
    assert found.policies == ({"kind": "freeze"},)
    assert found.environment("prod").name == "prod"
    assert found.environments_of("base") == ("dev", "staging", "prod")
    with pytest.raises(KeyError):
        found.environment("qa")


@pytest.mark.parametrize(
    ("change", "line", "column", "message", "hint"),
    [
        (("format: 1", "format: 2"), 1, 9, "format must be 1", None),
        (("format: 1", "format: true"), 1, 9, "format must be 1", None),
        (("format: 1\n", ""), 1, 1, "format must be 1", None),
        ((REPO_ID, "x"), 2, 5, "id must be a UUID in lower case, such as uuidgen prints", None),
        (("id:", "idd:"), 2, 1, "there is no field idd", "did you mean id?"),
        (("worktree", "work-tree"), 5, 11, "environments[0].mode must be commit or worktree", "did you mean worktree?"),
        (("name: dev", "name: Dev"), 4, 11, _NAME, None),
        (("name: dev", "name: prod"), 9, 12, "the name prod is taken", None),
        (("name: dev", "name: flags"), 4, 11, "the name flags is reserved", None),
        (("name: dev", "title: dev"), 4, 5, "there is no field title", None),
        (("base, shared", "base, base"), 7, 20, "base stands twice in environments[1].layers", None),
        (("base, shared", "base, 1"), 7, 20, "environments[1].layers must be a list of layers", None),
        (("[neo4j, sync]", "neo4j"), 11, 10, "services.graph must be a list of categories", None),
        (("base, shared", "base, ../x"), 7, 20, "'../x' cannot be the name of a layer", None),
        (("base, shared", "base, contracts"), 7, 20, "'contracts' cannot be the name of a layer", None),
        (("  graph:", "  gr aph:"), 11, 3, "'gr aph' cannot be the name of a service", None),
        (("  - {kind: freeze}", "  kind: x"), 13, 3, "policies must be a list", None),
    ],
)  # fmt: skip
def test_each_fault_of_a_manifest_has_its_place(
    change: tuple[str, str], line: int, column: int, message: str, hint: str | None
) -> None:
    """Line and column of the value, or of the key that should not be there."""
    _, findings = read_manifest(GOOD.replace(*change).encode())
    found = {(each.line, each.column, each.message, each.hint) for each in findings}
    assert (line, column, message, hint) in found
    assert {each.rule for each in findings} == {"KEM061"}


@pytest.mark.parametrize(
    "text", ["", "[]", "id: x", "environments: 1", "environments: []", "environments: [1, {}]", "a: ["]
)
def test_whatever_the_text_there_are_findings_and_no_manifest(text: str) -> None:
    """A broken manifest names no environments."""
    found, findings = read_manifest(text.encode())
    assert found is None
    assert findings


RECIPIENTS = f"""\
recipients:
  daemon: {{key: {KEY_A}, kind: daemon}}
  rescue:
    key: {KEY_B}
    kind: recovery
environments:
  dev: [daemon]
  staging: [rescue, daemon]
"""


def test_the_recipients_of_a_layer_are_those_of_its_environments() -> None:
    """An overlay has its environment's; base and shared layers the union of all that they are part of."""
    found, findings = read_recipients(RECIPIENTS.encode(), manifest())
    assert findings == ()
    assert found is not None
    assert found.keys_for_layer("dev", manifest()) == (KEY_A,)
    assert found.keys_for_layer("shared", manifest()) == tuple(sorted((KEY_A, KEY_B)))
    assert found.keys_for_layer("base", manifest()) == tuple(sorted((KEY_A, KEY_B)))
    assert found.keys_for_layer("prod", manifest()) == ()
    assert [each.name for each in found.for_layer("base", manifest())] == ["daemon", "rescue"]


@pytest.mark.parametrize(
    ("change", "line", "message", "hint"),
    [
        ((f"{{key: {KEY_A}", "{key: age1x"), 2, _KEY, None),
        ((KEY_A, f"{KEY_A[:-1]}z"), 2, "recipients.daemon.key has a wrong checksum: it is mistyped or cut", None),
        (("kind: daemon", "kind: demon"), 2, _KIND, "did you mean daemon?"),
        (("dev: [daemon]", "dev: [deamon]"), 7, "there is no recipient deamon", "did you mean daemon?"),
        (("dev: [daemon]", "dv: [daemon]"), 7, "kemudi.yaml names no environment dv", "did you mean dev?"),
        (("recipients:\n", "people:\n"), 1, "there is no field people", None),
    ],
)  # fmt: skip
def test_each_fault_of_recipients_has_its_place(
    change: tuple[str, str], line: int, message: str, hint: str | None
) -> None:
    """A mistyped key, name or environment would seal to nobody, or to the wrong people."""
    _, findings = read_recipients(RECIPIENTS.replace(*change).encode(), manifest())
    assert (line, message, hint) in {(each.line, each.message, each.hint) for each in findings}
    assert {each.rule for each in findings} == {"KEM062"}


def test_recipients_may_be_empty() -> None:
    """A new repo has no secrets yet."""
    found, findings = read_recipients(b"recipients: {}\nenvironments: {dev: []}\n", manifest())
    assert findings == ()
    assert found is not None
    assert found.keys_for_layer("base", manifest()) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- {who: '@x/ops', role: approver, environments: [prod], categories: [sync]}", []),
        ("- {who: a, role: boss}", [(1, "[0].role must be viewer or editor or approver or admin")]),
        ("- {role: admin}", [(1, "[0].who must be who it is about")]),
        ("- {who: a, role: admin, environments: [prd]}", [(1, "kemudi.yaml names no environment prd")]),
        ("- 1", [(1, "[0] must be a mapping")]),
        ("who: a", [(1, "the file must be a list, each item after `- `")]),
        ("", []),
    ],
)
def test_roles_are_a_list_of_grants(text: str, expected: list[tuple[int, str]]) -> None:
    """Each fault at its line."""
    _, findings = read_roles(text.encode(), manifest())
    assert [(each.line, each.message) for each in findings] == expected


def test_a_grant_is_read() -> None:
    """Without environments and categories it holds everywhere."""
    grants, _ = read_roles(b"- {who: '@x/ops', role: admin}\n", manifest())
    found: list[Any] = [(each.who, each.role, each.environments, each.categories) for each in grants]
    assert found == [("@x/ops", "admin", (), ())]
