"""A fitting control for each kind of setting, with what it takes and an example; what is typed is what is saved."""

import html
import json
import re
from typing import Any

import pytest
import yaml

SETTINGS: dict[str, dict[str, Any]] = {
    "TRIAL_ENABLED": {"type": "boolean"},
    "TRIAL_ORDER": {"type": "string", "enum": ["newest", "oldest"]},
    "TRIAL_LIMIT": {"type": "integer", "minimum": 1, "maximum": 10_000, "x-kemudi-unit": "rows"},
    "TRIAL_SHARE": {"type": "number", "minimum": 0, "maximum": 100, "x-kemudi-unit": "%"},
    "TRIAL_ADDRESS": {"type": "string", "format": "uri"},
    "TRIAL_PAUSE": {"type": "string", "format": "duration", "examples": ["PT45S"]},
    "TRIAL_HOSTS": {"type": "array", "items": {"type": "string"}},
    "TRIAL_WEIGHTS": {"type": "object", "additionalProperties": {"type": "number"}},
}
FIRST: dict[str, Any] = {
    "TRIAL_ENABLED": True,
    "TRIAL_ORDER": "newest",
    "TRIAL_LIMIT": 10,
    "TRIAL_SHARE": 12.5,
    "TRIAL_ADDRESS": "https://one.example.org",
    "TRIAL_PAUSE": "PT10S",
    "TRIAL_HOSTS": ["a", "b"],
    "TRIAL_WEIGHTS": {"a": 1},
}
ROWS = (
    # key, the control, what is said to it in English and in Indonesian, what is typed, what is in git then
    (
        "TRIAL_ENABLED",
        r'<input type="radio" name="value" value="false"',
        "on or off",
        "hidup atau mati",
        "false",
        False,
    ),
    ("TRIAL_ORDER", r"<select[^>]*>.*<option", "newest, oldest", "newest, oldest", "oldest", "oldest"),
    ("TRIAL_LIMIT", r'<input[^>]*inputmode="numeric"', "from 1 to 10,000", "dari 1", "20", 20),
    ("TRIAL_SHARE", r'<input[^>]*inputmode="decimal"', "from 0 to 100", "dari 0", "99.5", 99.5),
    (
        "TRIAL_ADDRESS",
        r'<input[^>]*inputmode="url"',
        "such as https://service.example.org:8443",
        "misalnya https://service.example.org:8443",
        "https://two.example.org:8443/x?y=1&z=2",
        "https://two.example.org:8443/x?y=1&z=2",
    ),
    ("TRIAL_PAUSE", r"<input[^>]*name=\"value\"", "For example: PT45S", "Contohnya: PT45S", "PT1M", "PT1M"),
    (
        "TRIAL_HOSTS",
        r"<textarea[^>]*name=\"value\"",
        'such as ["a", "b"]',
        'misalnya ["a", "b"]',
        '["b", "c"]',
        ["b", "c"],
    ),
    ("TRIAL_WEIGHTS", r"<textarea[^>]*name=\"value\"", '{"a": 1}', '{"a": 1}', '{"b": 0.5}', {"b": 0.5}),
)


@pytest.fixture
def trial(repo: Any, daemon: Any, start: Any) -> Any:
    """The console over a repo with one setting of each kind."""
    described = {key: {"description": "For a trial.", **schema} for key, schema in SETTINGS.items()}
    contract = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": described,
    }
    (repo.path / "contracts/trial.schema.json").write_text(json.dumps(contract))
    (repo.path / "dev/trial.yaml").write_text(yaml.safe_dump(FIRST, sort_keys=False))
    daemon.serves("dev", repo.commit("Settings of every kind"))
    return start()


def test_every_kind_has_its_control_and_an_example(trial: Any) -> None:
    """In both languages; each value typed is saved as that value, and the others stay as they are."""
    browser = trial.sign_in()
    wanted = dict(FIRST)
    for key, control, english, indonesian, typed, saved in ROWS:
        path = f"/e/dev/settings/{key}/change"
        for language, said in (("en", english), ("id", indonesian)):
            browser.http.cookies.set("kemudi_language", language)
            page = browser.get(path).text
            form = page[page.index('<form class="change') :]
            assert re.search(control, form, re.DOTALL), (key, language)
            hint = re.search(r'<p class="hint" id="hint">(.*?)</p>', form, re.DOTALL)
            assert hint is not None
            assert said in html.unescape(re.sub(r"<[^>]*>", "", hint[1])), (key, language)
        answer = browser.form(path, value=typed, layer="dev", expected=trial.repo.head, action="commit")
        assert answer.status_code == 303, (key, answer.text)
        wanted[key] = saved
        assert yaml.safe_load((trial.repo.path / "dev/trial.yaml").read_text()) == wanted


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("TRIAL_ENABLED", "yes"),
        ("TRIAL_ORDER", "middle"),
        ("TRIAL_LIMIT", "10001"),
        ("TRIAL_SHARE", "100.1"),
        ("TRIAL_HOSTS", '["b", 1]'),
        ("TRIAL_HOSTS", "b, c"),
        ("TRIAL_WEIGHTS", '{"a": "much"}'),
    ],
)
def test_a_value_of_another_kind_stays_in_its_control(trial: Any, key: str, typed: str) -> None:
    """422 with a sentence; nothing reaches git."""
    browser, before = trial.sign_in(), trial.repo.head
    answer = browser.form(f"/e/dev/settings/{key}/change", value=typed, action="commit")
    assert answer.status_code == 422
    assert 'id="wrong"' in answer.text
    if typed.startswith("{"):
        assert "TRIAL_WEIGHTS.a must be a number" in re.search(r'id="wrong">(.*?)</p>', answer.text)[1]
    assert trial.repo.head == before
