"""The description of the REST API holds: requests made from it, right and wrong ones, are answered as it says."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kemudi.console.access import accounts
from kemudi.schema.manifest import RoleGrant

load_all_checks()
STREAM = "GET /api/v1/events"
EXAMPLES = 15
ENV = st.sampled_from(["dev", "staging"])
NAMES = {
    "env": ENV,
    "left": ENV,
    "right": ENV,
    "key": st.sampled_from(["SYNC_TIMEOUT", "GRAPH_CLASSMATES_LIMIT", "NEO4J_USER"]),
    "layer": st.sampled_from([None, "base"]),
    "value": st.integers(60, 100),
    "unset": st.just(False),
    "revision": st.just("the first"),
    "id": st.just("one that waits"),
    "until": st.just((datetime.now(UTC) + timedelta(days=1)).isoformat()),
}
REAL = st.one_of(st.fixed_dictionaries(NAMES), st.fixed_dictionaries({}, optional=NAMES))


@pytest.fixture
def token(site: Any) -> str:
    """Of somebody who may everything: every request gets to the code behind the roles."""
    return accounts.add_token(
        site.parts.settings.state, "contract", RoleGrant("token:contract", "admin"), days=1
    )


@pytest.fixture
def described(site: Any) -> Any:
    return schemathesis.openapi.from_url(f"{site.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_request_is_answered_as_described(
    site: Any, described: Any, token: str, mode: GenerationMode
) -> None:
    """Statuses, bodies, headers, media types and who is let in; what the description forbids is refused; no 500.

    Most names are those that exist; the rest must be 404 by look-up, whatever they look like. One check is left out:
    that a value fits the contract of its setting is not for the description to say.
    """
    sent = {"Authorization": f"Bearer {token}"}
    answers: defaultdict[str, set[int]] = defaultdict(set)
    for found in described.get_all_operations():
        operation = found.ok()
        if operation.label == STREAM:
            continue  # has no end; see below
        if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
            continue  # any text may be a name: no such request is wrong

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), real=REAL)
        def answered(case: schemathesis.Case, real: dict[str, Any]) -> None:
            _put(case, _known(site, case, real), mode)
            answer = case.call_and_validate(headers=sent, excluded_checks=[positive_data_acceptance])
            answers[case.operation.label].add(answer.status_code)

        answered()
    if mode is GenerationMode.POSITIVE:
        assert {label for label, seen in answers.items() if not seen & {200, 202}} == set()


def test_the_stream_is_answered_as_described(site: Any, described: Any, token: str) -> None:
    """The one answer without an end: its status, media type and first event."""
    answer = described.raw_schema["paths"]["/api/v1/events"]["get"]["responses"]["200"]
    sent = {"Authorization": f"Bearer {token}"}
    with site.anonymous().stream("GET", "/api/v1/events", headers=sent) as events:
        assert events.status_code == 200
        assert events.headers["content-type"].partition(";")[0] in answer["content"]
        assert next(events.iter_lines()).startswith("retry:")


def test_every_operation_says_who_is_let_in_and_what_goes_wrong(described: Any) -> None:
    """Each has a summary, an example or description of each parameter, and its errors are problems."""
    schemes = described.raw_schema["components"]["securitySchemes"]
    for path, item in described.raw_schema["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert {name for each in operation["security"] for name in each} <= set(schemes), where
            assert {"token": []} in operation["security"], where
            assert all(each.get("description") for each in operation.get("parameters", ())), where
            for status, answer in operation["responses"].items():
                assert answer["description"], where
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], where
            if method != "get":
                assert {"401", "403", "415", "422"} <= set(operation["responses"]), where
                assert {"session": [], "form": []} in operation["security"], where


def _known(site: Any, case: schemathesis.Case, real: dict[str, Any]) -> dict[str, Any]:
    """With the commit that is meant: of a proposal that waits now, else the first; and the tag of the setting now."""
    found, board = dict(real), site.parts.board
    if "{id}" in case.path and "id" in real:
        waits = site.proposal()
        found |= {"id": waits.id, "revision": waits.tip}
    elif "revision" in real:
        found["revision"] = site.repo.git("rev-list", "--max-parents=0", "HEAD")
    if case.method == "PUT" and "env" in real and "key" in real:
        row = board.environments[real["env"]].rows[real["key"]]
        case.headers["If-Match"] = f'"{row.etag}"'
    return found


def _put(case: schemathesis.Case, real: dict[str, Any], mode: GenerationMode) -> None:
    """The names into the places that have such a one; only into the path of a wrong request."""
    parts: list[Any] = [case.path_parameters]
    if mode is GenerationMode.POSITIVE:
        body = case.body if isinstance(case.body, dict) else {}
        if "changes" in body and "value" in real:
            body["changes"] = [{name: real[name] for name in ("key", "value") if name in real}]
        if case.path.endswith("/settings/{key}") and case.method == "PUT":
            body["value"] = real.get("value")
        parts += [case.query, case.headers, body]
    for part in parts:
        if part:
            part.update({name: value for name, value in real.items() if name in part})
