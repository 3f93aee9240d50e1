"""What people and programs are shown: findings and explanations, without secrets."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemudi.schema.errors import UsageError
from kemudi.schema.explain import explain
from kemudi.schema.findings import Finding
from kemudi.schema.report import as_json, as_text, source_of, text_of
from kemudi.schema.state import ConfigState, File

Repo = Callable[..., ConfigState]


def test_a_finding_is_a_line_with_a_caret_and_a_hint(repo: Repo) -> None:
    """file:line:column, rule, sentence, layer; the source line; where in it; what to write."""
    state = repo({"prod/sync.yaml": "# more\nSYNC_PAUSED: no # for now\n"})
    assert as_text(state.findings, source_of(state)) == (
        'prod/sync.yaml:2:14: KEM023 SYNC_PAUSED must be true or false, and is the text "no" [prod]\n'
        "    SYNC_PAUSED: no # for now\n"
        "                 ^\n"
        "    hint: did you mean false? In YAML 1.2 no is text"
    )


def test_without_a_source_there_is_only_the_sentence() -> None:
    """A finding of a whole file has no line to show; a warning says that it is one."""
    finding = Finding("dev/typo.yaml", 1, 1, "KEM064", message="there is no contract", severity="warning")
    assert text_of(finding) == "dev/typo.yaml:1:1: KEM064 warning: there is no contract"


def test_json_has_the_pinned_form(repo: Repo) -> None:
    """`{files, errors: [{file, line, column, pointer, rule, key, message, hint}]}`; warnings stand apart."""
    state = repo({"prod/sync.yaml": "SYNC_BATCH_SIZE: 0\n"})
    found = as_json(state.findings, len(state.files))
    assert json.loads(json.dumps(found)) == found
    assert found["files"] == len(state.files)
    (error,) = found["errors"]
    assert {name: error[name] for name in ("file", "line", "column", "pointer", "rule", "key", "hint")} == {
        "file": "prod/sync.yaml",
        "line": 1,
        "column": 18,
        "pointer": "/SYNC_BATCH_SIZE",
        "rule": "KEM024",
        "key": "SYNC_BATCH_SIZE",
        "hint": None,
    }


def test_a_long_line_is_cut_around_the_caret(repo: Repo) -> None:
    """The caret still points at the place."""
    state = repo(
        {"prod/sync.yaml": "SYNC_WEIGHTS: {" + ", ".join(f"k{n}: 1" for n in range(99)) + ", z: -1}\n"}
    )
    _, line, caret = as_text(state.findings, source_of(state)).split("\n")
    assert len(line) < 180
    assert line[caret.index("^") :].startswith("-1}")


@pytest.mark.parametrize(
    "text",
    [
        "STORE_PASSWORD: canary\n",
        "STORE_PASSWORD: 'canary\n",
        "STORE_PASSWORD: [canary, !x canary]\n",
        "STORE_PASSWORD:\n  canary: {canary: .nan}\n",
        "STORE_PASSWORD: |\n  canary\n\tcanary\n",
        "STORE_PASWORD: canary\n",
        "store_password: canary\n",
        "'STORE_PASSWORD': canary\n",
        "? STORE_PASSWORD\n: canary\n",
        "{STORE_PASSWORD: canary}\n",
        "{STORE_URI: 1, STORE_PASSWORD: canary}\n",
        "STORE_PASSWORD: canary\nSTORE_PASSWORD: canary\n",
        "STORE_URI: a://b\ncanary\n",
        "STORE_PASSWORD: canary: canary\n",
        "STORE_PASSWORD: &canary canary\n",
        "STORE_PASSWORD: *canary\n",
        "STORE_PASSWORD: !canary canary\n",
        "STORE_PASSWORD: canary\ufffe\n",
        "- canary\n",
        "canary\n",
        "STORE_PASSWORD: ENC[canary]\n",
    ],
)  # fmt: skip
def test_no_report_shows_what_may_be_a_secret(repo: Repo, text: str) -> None:
    """Neither message nor hint nor source line, in whatever way the file is broken."""
    state = repo({"prod/store.yaml": text})
    assert state.findings
    shown = as_text(state.findings, source_of(state)) + json.dumps(as_json(state.findings, 1))
    assert "canary" not in shown


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["STORE_PASSWORD: ", "\n", "  ", "'", '"', "[", "{", "- ", ": ", "&", "!", "\t"])
    )
)
def test_no_broken_file_shows_a_secret(parts: list[str]) -> None:
    """The same for files that are broken at random."""
    contract = '{"properties": {"STORE_PASSWORD": {"type": "string", "description": "x", "x-kemudi-sensitive": true}}}'
    files = {
        "kemudi.yaml": "format: 1\nid: 0b7c1f4e-5d0a-4f43-9c39-6a1f2f0f8d21\nenvironments: [{name: prod}]\n",
        "contracts/store.schema.json": contract,
        "prod/store.yaml": "STORE_PASSWORD: SECRET" + "".join(parts),
    }
    state = ConfigState.load(File(path, text.encode()) for path, text in files.items())
    shown = as_text(state.findings, source_of(state))
    assert "SECRET" not in shown


def test_an_explanation_tells_where_a_value_comes_from(repo: Repo) -> None:
    """The line that sets it, what it replaced, the default, the type."""
    found = explain(repo(), "prod", "SYNC_BATCH_SIZE")
    assert found.as_text() == (
        "SYNC_BATCH_SIZE is 5000 in prod\n"
        "  from       prod/sync.yaml:2\n"
        "  overrides  base/sync.yaml:1  500  [base]\n"
        "  default    1000\n"
        "  type       a whole number of rows of at least 1\n"
        "  about      About SYNC_BATCH_SIZE.\n"
        "  contract   contracts/sync.schema.json:4"
    )
    data = found.as_json()
    assert data["source"] == {"file": "prod/sync.yaml", "line": 2}
    assert data["overrides"] == [{"layer": "base", "file": "base/sync.yaml", "line": 1, "value": 500}]
    assert explain(repo(), "dev", "SYNC_PAUSED").layer == "default"


def test_a_sensitive_value_is_explained_without_it(repo: Repo) -> None:
    """Set or not set, never what; not even the sealed text."""
    unset = explain(repo(), "prod", "STORE_PASSWORD")
    assert unset.as_text().startswith("STORE_PASSWORD is not set in prod")
    text = "STORE_PASSWORD: ENC[kemudi:v1,at=00000000,rs=00000000,YWdlLWVuY3J5cHRpb24ub3JnL3YxCg==]\n"
    found = explain(repo({"prod/store.yaml": text}), "prod", "STORE_PASSWORD")
    assert found.as_text().startswith("STORE_PASSWORD is *** in prod")
    assert "ENC[" not in found.as_text() + json.dumps(found.as_json())


@pytest.mark.parametrize(
    ("env", "key", "hint"),
    [("prd", "SYNC_PAUSED", "did you mean prod?"), ("prod", "SYNC_PAUSE", "did you mean SYNC_PAUSED?")],
)
def test_an_unknown_name_is_told_the_nearest(repo: Repo, env: str, key: str, hint: str) -> None:
    """A UsageError with the name that was probably meant."""
    with pytest.raises(UsageError) as caught:
        explain(repo(), env, key)
    assert caught.value.hint == hint
