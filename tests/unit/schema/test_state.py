"""A whole repo: layers over each other, findings at their places, and updates that equal a fresh load."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kemudi.schema.documents import Place
from kemudi.schema.envelope import Context, Envelope, context_digest, recipients_digest
from kemudi.schema.findings import Finding
from kemudi.schema.state import ConfigState, File

Repo = Callable[..., ConfigState]
AGE = b"age-encryption.org/v1\nbody"
REPO_ID = "0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21"
KEY_A = "age1f2wtgnnvklydpate74pdcplt9kdynzn24t45kxwhqc3grk50vans73s2fy"
KEY_B = "age1tg97xxcpcc9y6ffzkgjh444ngph2zkjcknq6fffvkszr2v5xvdeqlcpr0d"
RECIPIENTS = f"""\
recipients:
  daemon: {{key: {KEY_A}, kind: daemon}}
  rescue: {{key: {KEY_B}, kind: recovery}}
environments:
  dev: [daemon]
  prod: [daemon, rescue]
"""


def places(findings: tuple[Finding, ...]) -> list[tuple[str, int, int, str]]:
    """File, line, column and rule of each finding."""
    return [(each.file, each.line, each.column, each.rule) for each in findings]


def sealed(
    layer: str = "prod", key: str = "STORE_PASSWORD", recipients: tuple[str, ...] = (KEY_A, KEY_B)
) -> str:
    """An envelope for one place, its ciphertext invented."""
    at = context_digest(Context(REPO_ID, layer, "store", key))
    stanzas = b"".join(b"-> X25519 invented\nbody\n" for _ in recipients)
    return str(Envelope(at, recipients_digest(recipients), b"age-encryption.org/v1\n" + stanzas + b"--- mac"))


def test_the_last_layer_that_sets_a_key_wins_whole(repo: Repo) -> None:
    """A structured value is replaced, not merged; the value says its layer, its place and what it replaced."""
    state = repo(
        {
            "base/sync.yaml": "SYNC_WEIGHTS: {a: 1, b: 2}\n",
            "prod/sync.yaml": "SYNC_MODE: delta\nSYNC_WEIGHTS: {b: 3}\n",
        }
    )
    assert state.findings == ()
    found = state.resolve("prod")["sync"].settings["SYNC_WEIGHTS"]
    assert found.value == {"b": 3}
    assert (found.layer, found.place) == ("prod", Place("prod/sync.yaml", 2, 15))
    assert found.overrides == (("base", Place("base/sync.yaml", 1, 15), {"a": 1, "b": 2}),)
    default = state.resolve("dev")["sync"].settings["SYNC_PAUSED"]
    assert (default.value, default.layer, default.place) == (False, "default", None)
    assert "STORE_PASSWORD" not in state.resolve("dev")["store"].settings


def test_every_error_in_every_file_is_reported_at_once(repo: Repo) -> None:
    """Three errors in two files are three findings, each at its line and column, in order."""
    state = repo(
        {
            "base/sync.yaml": "SYNC_BATCH_SIZE: 0\nSYNC_PAUSED: no\n",
            "prod/sync.yaml": "# why\nSYNC_BATCH_SZE: 10\n",
        }
    )
    assert places(state.findings) == [
        ("base/sync.yaml", 1, 18, "KEM024"),
        ("base/sync.yaml", 2, 14, "KEM023"),
        ("prod/sync.yaml", 2, 1, "KEM020"),
    ]
    assert [each.layer for each in state.findings] == ["base", "base", "prod"]
    first, second, third = state.findings
    assert first.message == "SYNC_BATCH_SIZE must be a whole number of rows of at least 1, and is 0"
    assert second.hint == "did you mean false? In YAML 1.2 no is text"
    assert third.hint == "did you mean SYNC_BATCH_SIZE?"


def test_an_error_affects_the_environments_of_its_layer(repo: Repo) -> None:
    """A broken overlay holds back its own environment; a broken contract or manifest all of them."""
    overlay = repo({"prod/sync.yaml": "SYNC_BATCH_SIZE: 0\n"})
    assert overlay.findings_for("dev") == ()
    assert len(overlay.findings_for("prod")) == 1
    assert len(overlay.findings_for("prod", "sync")) == 1
    assert overlay.findings_for("prod", "store") == ()
    broken = repo({"contracts/sync.schema.json": "{"})
    assert (
        places(broken.findings_for("dev"))
        == places(broken.findings_for("prod"))
        == [("contracts/sync.schema.json", 1, 2, "KEM040")]
    )
    assert broken.findings_for("dev", "store") == ()
    assert len(repo({"kemudi.yaml": "id: 1"}).findings_for("dev", "store")) > 0


@pytest.mark.parametrize(
    ("path", "rule", "hint"),
    [
        ("dev/snyc.yaml", "KEM064", "did you mean sync?"),
        ("dev/sync.yml", "KEM064", "rename it to sync.yaml"),
        ("dev/more/sync.yaml", "KEM064", None),
        ("prd/sync.yaml", "KEM065", "did you mean prod?"),
        ("Prod/sync.yaml", "KEM065", "did you mean prod?"),
    ],
)
def test_a_file_whose_values_would_reach_nobody_is_a_finding(
    repo: Repo, path: str, rule: str, hint: str | None
) -> None:
    """An unknown category, suffix or layer is reported with the nearest name."""
    found = [each for each in repo({path: "SYNC_PAUSED: true\n"}).findings if each.rule == rule]
    assert [(each.file, each.line, each.hint) for each in found] == [(path, 1, hint)]


@pytest.mark.parametrize(
    "path", ["README.md", "docs/notes.md", ".github/workflows/x.yml", "deploy/app.yaml", "dev/README.md"]
)
def test_other_files_are_left_alone(repo: Repo, path: str) -> None:
    """A config repo may hold what else a repo holds."""
    assert repo({path: "{{ anything"}).findings == ()


def test_links_and_submodules_are_refused_unread(repo: Repo) -> None:
    """Under a config path a link is a finding, wherever it points; its target is never part of anything."""
    for path, kind in (
        ("dev/sync.yaml", "symlink"),
        ("dev", "submodule"),
        ("contracts/x.schema.json", "symlink"),
    ):
        state = repo().update({path: File(path, b"/etc/passwd", kind)})  # type: ignore[arg-type]
        assert places(state.findings) == [(path, 1, 1, "KEM066")]
        assert "passwd" not in str(state.findings)
        assert places(state.findings_for("dev")) == places(state.findings)
    elsewhere = repo().update({"vendor": File("vendor", b"", "submodule")})
    assert elsewhere.findings == ()


@pytest.mark.parametrize("twin", ["base/Sync.yaml", "BASE/sync.yaml", "contracts/SYNC.schema.json"])
def test_paths_that_differ_only_in_case_are_refused(repo: Repo, twin: str) -> None:
    """On some file systems a checkout would keep one of the two."""
    rules = {(each.file, each.rule) for each in repo({twin: "{}"}).findings}
    assert (max(twin, twin.lower()), "KEM067") in rules


def test_keys_that_differ_only_in_case_are_refused(repo: Repo) -> None:
    """The second spelling is reported at its place, with the one that the contract knows."""
    (finding,) = repo({"dev/sync.yaml": "SYNC_PAUSED: true\nSync_Paused: false\n"}).findings
    assert (finding.line, finding.column, finding.rule, finding.hint) == (2, 1, "KEM022", "write SYNC_PAUSED")


def test_a_key_in_the_wrong_file_is_told_where_it_belongs(repo: Repo) -> None:
    """The key is right, the file is not."""
    (finding,) = repo({"dev/store.yaml": "SYNC_PAUSED: true\n"}).findings
    assert (finding.rule, finding.hint) == ("KEM021", "SYNC_PAUSED belongs in dev/sync.yaml")


def test_a_key_of_two_contracts_is_refused(repo: Repo, make_contract: Callable[..., str]) -> None:
    """A process asks for a key without its category, so the second contract to claim one is told."""
    other = make_contract({"SYNC_PAUSED": {"type": "boolean", "default": True}})
    (finding,) = repo({"contracts/zeta.schema.json": other}).findings
    assert (finding.file, finding.rule, finding.key) == (
        "contracts/zeta.schema.json",
        "KEM047",
        "SYNC_PAUSED",
    )
    assert finding.line > 1


@pytest.mark.parametrize("text", [None, "", "id: x\n", "format: 2\n", "- 1"])
def test_without_a_manifest_there_is_a_finding_and_no_environment(repo: Repo, text: str | None) -> None:
    """A missing or broken `kemudi.yaml` is reported like anything else, and nothing is resolved."""
    state = repo({"kemudi.yaml": text})
    assert state.findings
    assert {each.file for each in state.findings} == {"kemudi.yaml"}
    assert state.manifest is None
    with pytest.raises(KeyError):
        state.resolve("dev")


class TestSecrets:
    """What is found of sealed values without any key."""

    def test_a_sealed_value_in_its_place_is_fine(self, repo: Repo) -> None:
        """It is resolved as an envelope, still sealed."""
        state = repo({"recipients.yaml": RECIPIENTS, "prod/store.yaml": f"STORE_PASSWORD: {sealed()}\n"})
        assert state.findings == ()
        assert isinstance(state.resolve("prod")["store"].settings["STORE_PASSWORD"].value, Envelope)

    @pytest.mark.parametrize(
        ("line", "rule"),
        [
            ("STORE_PASSWORD: hunter2-canary", "KEM030"),
            ("STORE_PASSWORD: [hunter2-canary]", "KEM030"),
            ("STORE_PASSWORD: 918273645", "KEM030"),
            ("STORE_PASSWORD:", "KEM030"),
            (f"STORE_URI: {sealed()}", "KEM031"),
            ("STORE_URI: 'ENC[hunter2-canary]'", "KEM031"),
            ("STORE_PASSWORD: ENC[hunter2-canary]", "KEM032"),
            (f"STORE_PASSWORD: {sealed()[:-1]}", "KEM032"),
            (f"STORE_PASSWORD: {sealed().replace('YWdl', 'YWdk')}", "KEM032"),
            (f"STORE_PASSWORD: {sealed(layer='dev')}", "KEM033"),
            (f"STORE_PASSWORD: {sealed(key='STORE_URI')}", "KEM033"),
            (f"STORE_PASSWORD: {sealed(recipients=(KEY_A,))}", "KEM034"),
        ],
    )
    def test_what_is_wrong_is_found_and_never_printed(self, repo: Repo, line: str, rule: str) -> None:
        """Plain text, a seal where none belongs, a damaged, moved or stale one: each its rule, and no value."""
        state = repo({"recipients.yaml": RECIPIENTS, "prod/store.yaml": f"{line}\n"})
        assert [(each.rule, each.line) for each in state.findings] == [(rule, 1)]
        assert "canary" not in str(state.findings)
        assert "918273645" not in str(state.findings)
        assert state.findings_for("dev") == ()

    def test_base_is_sealed_to_the_union_of_recipients(self, repo: Repo) -> None:
        """Whoever reads an environment reads its base layer too."""
        text = f"STORE_PASSWORD: {sealed(layer='base')}\n"
        assert repo({"recipients.yaml": RECIPIENTS, "base/store.yaml": text}).findings == ()

    def test_new_recipients_make_sealed_values_stale(self, repo: Repo) -> None:
        """The change of `recipients.yaml` alone is enough to report them."""
        state = repo({"recipients.yaml": RECIPIENTS, "prod/store.yaml": f"STORE_PASSWORD: {sealed()}\n"})
        fewer = RECIPIENTS.replace("[daemon, rescue]", "[daemon]").encode()
        state = state.update({"recipients.yaml": File("recipients.yaml", fewer)})
        assert [each.rule for each in state.findings] == ["KEM034"]


class TestRulesBetweenKeys:
    """A contract can tie keys together; the resolved values of each environment are held against it."""

    CONTRACT: ClassVar[dict[str, Any]] = {
        "SYNC_MODE": {"type": "string", "default": "full", "enum": ["full", "delta"]},
        "SYNC_BATCH_SIZE": {"type": "integer", "default": 10},
        "SYNC_TOKEN": {"type": "string", "x-kemudi-sensitive": True},
    }

    @pytest.fixture
    def tied(self, repo: Repo, make_contract: Callable[..., str]) -> Callable[..., ConfigState]:
        """`tied({path: text}, **rules)`: a repo whose contract of `sync` has these rules."""

        def make(changes: dict[str, str], **rules: Any) -> ConfigState:
            text = make_contract(self.CONTRACT, **rules)
            rest = {"base/sync.yaml": None, "prod/sync.yaml": None}
            return repo({**rest, "contracts/sync.schema.json": text, **changes})

        return make

    def test_the_layer_that_set_the_offending_key_is_named(self, tied: Callable[..., ConfigState]) -> None:
        """Two lines, each fine alone, contradict in prod: the finding stands at the one that the rule limits."""
        rule = {
            "if": {"properties": {"SYNC_MODE": {"const": "delta"}}},
            "then": {"properties": {"SYNC_BATCH_SIZE": {"maximum": 100}}},
        }
        state = tied(
            {"base/sync.yaml": "\nSYNC_BATCH_SIZE: 200\n", "prod/sync.yaml": "SYNC_MODE: delta\n"}, **rule
        )
        (finding,) = state.findings
        assert places((finding,)) == [("base/sync.yaml", 2, 18, "KEM027")]
        assert (finding.layer, finding.key) == ("base", "SYNC_BATCH_SIZE")
        assert finding.message == (
            "SYNC_BATCH_SIZE must be a whole number of at most 100 here, and is 200, because of SYNC_MODE (in prod)"
        )
        assert state.findings_for("dev") == ()
        assert len(state.findings_for("prod")) == 1

    def test_a_missing_key_is_reported_where_it_became_necessary(
        self, tied: Callable[..., ConfigState]
    ) -> None:
        """dependentRequired points at the line that asks for the other key."""
        state = tied(
            {"prod/sync.yaml": "SYNC_MODE: delta\n"}, dependentRequired={"SYNC_MODE": ["SYNC_TOKEN"]}
        )
        prod = state.findings_for("prod")
        assert places(prod) == [("prod/sync.yaml", 1, 12, "KEM027")]
        assert prod[0].message == "SYNC_TOKEN must be set, because of SYNC_MODE"

    def test_a_required_key_is_reported_in_each_environment(self, tied: Callable[..., ConfigState]) -> None:
        """Nothing sets it, so the finding stands at the last file of the category, or at the contract."""
        state = tied({"prod/sync.yaml": "SYNC_MODE: delta\n"}, required=["SYNC_TOKEN"])
        assert places(state.findings) == [
            ("contracts/sync.schema.json", 1, 1, "KEM027"),
            ("prod/sync.yaml", 1, 1, "KEM027"),
        ]

    def test_a_rule_can_tell_its_own_reason(self, tied: Callable[..., ConfigState]) -> None:
        """The description of a branch of allOf is the message."""
        branch = {
            "description": "delta needs small batches",
            "if": {"properties": {"SYNC_MODE": {"const": "delta"}}},
            "then": {"properties": {"SYNC_BATCH_SIZE": {"maximum": 100}}},
        }
        state = tied({"base/sync.yaml": "SYNC_MODE: delta\nSYNC_BATCH_SIZE: 200\n"}, allOf=[branch])
        assert [each.message for each in state.findings] == ["delta needs small batches"]

    def test_a_sensitive_value_takes_part_only_by_being_set(self, tied: Callable[..., ConfigState]) -> None:
        """No message of a rule holds a sensitive value, not even its sealed text."""
        rule = {"not": {"required": ["SYNC_TOKEN"]}}
        at = context_digest(Context(REPO_ID, "dev", "sync", "SYNC_TOKEN"))
        text = f"SYNC_TOKEN: {Envelope(at, 'ffffffff', AGE)}\n"
        (finding,) = tied({"dev/sync.yaml": text}, **rule).findings
        assert places((finding,)) == [("dev/sync.yaml", 1, 13, "KEM027")]
        assert "ENC[" not in str(finding)


class TestUpdate:
    """The next state costs what changed, and equals a fresh load."""

    def test_untouched_categories_are_the_same_objects(self, repo: Repo) -> None:
        """One file of sync changes: store, its contract and the other environment stay what they are."""
        state = repo()
        new = state.update({"prod/sync.yaml": File("prod/sync.yaml", b"SYNC_BATCH_SIZE: 7\n")})
        assert new.resolve("prod")["sync"].settings["SYNC_BATCH_SIZE"].value == 7
        assert state.resolve("prod")["sync"].settings["SYNC_BATCH_SIZE"].value == 5000
        assert new.resolve("dev")["sync"] is state.resolve("dev")["sync"]
        assert new.resolve("prod")["store"] is state.resolve("prod")["store"]
        assert new.contracts["sync"] is state.contracts["sync"]
        assert new.document("base/sync.yaml") is state.document("base/sync.yaml")

    def test_a_change_of_nothing_gives_the_same_state(self, repo: Repo) -> None:
        """Equal bytes, or a file that means nothing, are no change."""
        state = repo()
        same = File("prod/sync.yaml", state.files["prod/sync.yaml"].data)
        changes = {"prod/sync.yaml": same, "README.md": File("README.md", b"new"), "gone.yaml": None}
        assert state.update(changes) is state
        comment = state.update({"dev/sync.yaml": File("dev/sync.yaml", b"# nothing yet\n")})
        assert comment.resolve("dev")["sync"] is state.resolve("dev")["sync"]

    def test_values_that_are_equal_in_python_are_still_different(
        self, repo: Repo, make_contract: Any
    ) -> None:
        """1, 1.0 and true are three values to serve."""
        loose = make_contract({"SYNC_ANY": {"default": 0}})
        state = repo(
            {"contracts/sync.schema.json": loose, "base/sync.yaml": "SYNC_ANY: 1\n", "prod/sync.yaml": None}
        )
        for text, kind in ((b"1.0", float), (b"true", bool), (b"1", int)):
            state = state.update({"base/sync.yaml": File("base/sync.yaml", b"SYNC_ANY: " + text)})
            assert type(state.resolve("dev")["sync"].settings["SYNC_ANY"].value) is kind


CONTRACTS = ("contracts/sync.schema.json", "contracts/store.schema.json")
PATHS = [
    "kemudi.yaml",
    "recipients.yaml",
    "roles.yaml",
    *CONTRACTS,
    *(
        f"{layer}/{name}.yaml"
        for layer in ("base", "dev", "prod", "qa")
        for name in ("sync", "store", "typo")
    ),
    "base/Sync.yaml",
    "README.md",
    "dev",
]


@pytest.fixture(scope="module")
def contents() -> dict[str, list[str]]:
    """A few contents for each kind of file, good and bad."""
    module = __import__("json")
    sync, store, base = _texts(module)
    environments = base.replace("prod, layers: [base, prod]", "prod, layers: [base, qa, prod]")
    return {
        "kemudi.yaml": [
            base,
            base,
            environments,
            base.replace("sync]", "snyc]"),
            "id: 1",
            base.replace("dev", "qa"),
        ],
        "recipients.yaml": [
            RECIPIENTS,
            RECIPIENTS.replace(", rescue", ""),
            "x: 1",
            "recipients: {}\nenvironments: {}",
        ],
        "roles.yaml": ["- {who: '@x', role: admin}", "- {who: 1}", ""],
        "contracts/sync.schema.json": [
            sync,
            sync.replace('"integer"', '"number"'),
            sync.replace("SYNC_PAUSED", "P"),
            "{",
        ],
        "contracts/store.schema.json": [
            store,
            store.replace("STORE_URI", "SYNC_PAUSED"),
            store.replace("true", "false"),
        ],
        "values": [
            "",
            "SYNC_BATCH_SIZE: 1.0\n",
            "SYNC_BATCH_SIZE: 1\n",
            "\nSYNC_BATCH_SIZE: 1\nSYNC_PAUSED: true\n",
            "SYNC_BATCH_SIZE: 0\nP: true\n",
            "STORE_URI: a://b\n",
            f"STORE_PASSWORD: {sealed()}\n",
            f"STORE_PASSWORD: {sealed(layer='base')}\n",
            "STORE_PASSWORD: plain\nSYNC_PAUSED: no\n",
            "SYNC_MODE: delta\nSYNC_MODE: full\n",
            "A: [",
        ],
    }


def _texts(json: Any) -> tuple[str, str, str]:
    whole = {"type": "integer", "minimum": 1, "default": 9, "description": "Size."}
    paused = {"type": "boolean", "default": False, "description": "Paused."}
    mode = {"type": "string", "default": "full", "description": "Mode."}
    uri = {"type": "string", "default": "x://y", "description": "Where."}
    password = {"type": "string", "x-kemudi-sensitive": True, "description": "Secret."}
    sync = {
        "properties": {"SYNC_BATCH_SIZE": whole, "SYNC_PAUSED": paused, "SYNC_MODE": mode},
        "if": {"properties": {"SYNC_PAUSED": {"const": True}}},
        "then": {"properties": {"SYNC_BATCH_SIZE": {"minimum": 5}}},
    }
    store = {"properties": {"STORE_URI": uri, "STORE_PASSWORD": password}}
    manifest = (
        f"format: 1\nid: {REPO_ID}\nenvironments:\n  - {{name: dev, mode: worktree}}\n"
        "  - {name: prod, layers: [base, prod]}\nservices: {worker: [sync]}\n"
    )
    return json.dumps(sync), json.dumps(store), manifest


edits = st.lists(
    st.dictionaries(
        st.sampled_from(PATHS),
        st.one_of(st.none(), st.integers(0, 20), st.just("link")),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits)
def test_updates_equal_a_fresh_load(contents: dict[str, list[str]], edits: list[dict[str, Any]]) -> None:
    """After any sequence of edits the state is the one that loading all the files gives: findings, values, types."""

    def file(path: str, choice: Any) -> File | None:
        if choice is None:
            return None
        if choice == "link":
            return File(path, b"target", "symlink")
        texts = contents.get(path, contents["values"])
        return File(path, texts[choice % len(texts)].encode())

    start = {path: file(path, 0) for path in ("kemudi.yaml", *CONTRACTS)}
    files = {path: each for path, each in start.items() if each is not None}
    state = ConfigState.load(files.values())
    for edit in edits:
        changes = {path: file(path, choice) for path, choice in edit.items()}
        state = state.update(changes)
        files.update({path: each for path, each in changes.items() if each is not None})
        for path in [path for path, each in changes.items() if each is None]:
            files.pop(path, None)
        fresh = ConfigState.load(files.values())
        assert described(state) == described(fresh)
        assert state.findings == fresh.findings
        for env in ("dev", "prod", "qa"):
            assert state.findings_for(env) == fresh.findings_for(env)
            assert state.findings_for(env, "sync") == fresh.findings_for(env, "sync")


def described(state: ConfigState) -> str:
    """Everything that a state resolves to, with types."""
    environments = [each.name for each in state.manifest.environments] if state.manifest is not None else []
    resolved = {
        env: {
            name: sorted(each.settings.values()) for name, each in sorted(state.resolve(env).items(), key=str)
        }
        for env in environments
    }
    parts = [state.manifest, state.recipients, state.roles, sorted(state.contracts), dict(state.category_of)]
    return repr([parts, resolved])
