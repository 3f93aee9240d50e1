"""The history of a setting goes on when its line moves to another file, or its layer's folder gets another name."""

import json
import re
from typing import Any

import pytest
import yaml

KEY = "GRAPH_CLASSMATES_LIMIT"
PAGE = f"/e/dev/settings/{KEY}"


def to_another_category(repo: Any) -> str:
    """The setting moves with its contract; the file where its line is then."""
    contracts = repo.path / "contracts"
    old = json.loads((contracts / "graph_query.schema.json").read_text())
    moved = {"$schema": old["$schema"], "type": "object", "additionalProperties": False}
    moved["properties"] = {KEY: old["properties"].pop(KEY)}
    (contracts / "graph_query.schema.json").write_text(json.dumps(old))
    (contracts / "limits.schema.json").write_text(json.dumps(moved))
    for path in repo.path.glob("*/graph_query.yaml"):
        values = yaml.safe_load(path.read_text())
        if KEY in values:
            path.with_name("limits.yaml").write_text(yaml.safe_dump({KEY: values.pop(KEY)}))
            path.write_text(yaml.safe_dump(values))
    return "dev/limits.yaml"


def to_another_folder(repo: Any) -> str:
    """The layer is called otherwise."""
    repo.git("mv", "dev", "development")
    manifest = repo.path / "kemudi.yaml"
    text = re.sub(r"layers: \[base, dev\]", "layers: [base, development]", manifest.read_text())
    assert "development" in text
    manifest.write_text(text)
    return "development/graph_query.yaml"


@pytest.mark.parametrize("move", [to_another_category, to_another_folder])
def test_history_follows_and_going_back_writes_where_the_line_is_now(site: Any, move: Any) -> None:
    """Values from before the move are shown with their commits; going back to one of them is a new commit."""
    first = site.repo.change("dev", "graph_query", **{KEY: 31})
    site.repo.change("dev", "graph_query", **{KEY: 32})
    file = move(site.repo)
    site.repo.commit("Move the setting")
    site.refresh()
    browser = site.sign_in()
    page = browser.get(PAGE).text
    assert "31</code> → <code" in page
    assert "Move the setting" in page
    assert page.count("the value in git") == 1
    link = f"{PAGE}/change?back={first}"
    assert link in page
    form = browser.get(link).text
    assert 'value="31"' in form
    moved = site.repo.head
    layer = file.partition("/")[0]
    sent = {"layer": layer, "expected": moved, "back": first, "action": "commit"}
    answer = browser.form(f"{PAGE}/change", value="31", **sent)
    assert answer.status_code == 303, answer.text
    message = f"Roll back {KEY} in {layer}\n\nKemudi-Rollback: {first}\nKemudi-Change: rollback"
    assert site.repo.git("log", "-1", "--format=%B") == message
    assert site.repo.git("diff", "--name-only", moved, "HEAD") == file
    assert yaml.safe_load((site.repo.path / file).read_text())[KEY] == 31
    assert '32</code> → <code class="value">31' in browser.get(PAGE).text


def test_another_value_than_the_earlier_one_is_no_rollback(site: Any) -> None:
    """Who goes back and then types something else sets a new value, and the message says so."""
    first = site.repo.change("dev", "graph_query", **{KEY: 31})
    site.repo.change("dev", "graph_query", **{KEY: 32})
    site.refresh()
    sent = {"layer": "dev", "expected": site.repo.head, "back": first, "action": "commit"}
    assert site.sign_in().form(f"{PAGE}/change", value="33", **sent).status_code == 303
    assert site.repo.git("log", "-1", "--format=%B") == f"Set {KEY} in dev\n\nKemudi-Change: set"
