"""Contracts: what is refused at load, what a value must be, and what a config author is told."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from kemudi.schema.contract import (
    Contract,
    contract_from_model,
    contract_text,
    editor_rendering,
    setting,
    write_contracts,
)
from kemudi.schema.contract_reader import read_contract
from kemudi.schema.findings import Finding
from kemudi.schema.secret import Secret
from kemudi.schema.validator import compile_schema

FILE = "contracts/app.schema.json"
Text = Callable[..., str]


def read(text: str) -> tuple[Contract | None, tuple[Finding, ...]]:
    """Read the text of a contract of the category `app`."""
    return read_contract(text.encode(), FILE, "app")


def of(subschema: dict[str, Any], **rest: Any) -> Contract:
    """A contract of one setting, KEY; `rest` goes to its top."""
    described = {"description": "About KEY.", **subschema}
    contract, findings = read(json.dumps({"properties": {"KEY": described}, **rest}))
    assert findings == ()
    assert contract is not None
    return contract


class TestLoad:
    """A contract that could mislead is refused, at the place of what is wrong."""

    @pytest.mark.parametrize(
        ("subschema", "rest", "rule", "pointer"),
        [
            ({"minumum": 1}, {}, "KEM041", "/properties/KEY/minumum"),
            ({"type": "whole"}, {}, "KEM041", "/properties/KEY/type"),
            ({"minLength": -1}, {}, "KEM041", "/properties/KEY/minLength"),
            ({"items": 1}, {}, "KEM041", "/properties/KEY/items"),
            ({"x-kemudi-sensitiv": True}, {}, "KEM042", "/properties/KEY/x-kemudi-sensitiv"),
            ({"x-kemudi-unit": 1}, {}, "KEM042", "/properties/KEY/x-kemudi-unit"),
            ({"x-kemudi-expires": "2030-02-30"}, {}, "KEM042", "/properties/KEY/x-kemudi-expires"),
            (
                {"items": {"x-kemudi-sensitive": True}},
                {},
                "KEM042",
                "/properties/KEY/items/x-kemudi-sensitive",
            ),
            ({}, {"x-kemudi-sensitive": True}, "KEM042", "/x-kemudi-sensitive"),
            ({"description": " "}, {}, "KEM043", "/properties/KEY"),
            ({"default": "x", "type": "integer"}, {}, "KEM045", "/properties/KEY/default"),
            ({"pattern": "(?=a)b"}, {}, "KEM048", "/properties/KEY/pattern"),
            ({"pattern": r"(a)\1"}, {}, "KEM048", "/properties/KEY/pattern"),
            ({"pattern": "("}, {}, "KEM048", "/properties/KEY/pattern"),
            ({"pattern": "(a{1000}){1000}"}, {}, "KEM048", "/properties/KEY/pattern"),
            ({"$ref": "#/$defs/no"}, {}, "KEM049", "/properties/KEY/$ref"),
            ({"$id": "x"}, {}, "KEM049", "/properties/KEY/$id"),
            ({}, {"$defs": {"a": {"$ref": "#/$defs/a"}}}, "KEM049", "/$defs/a"),
            ({}, {"additionalProperties": True}, "KEM041", "/additionalProperties"),
            ({}, {"patternProperties": {}}, "KEM041", "/patternProperties"),
            ({}, {"$schema": "http://json-schema.org/draft-07/schema#"}, "KEM041", "/$schema"),
            ({}, {"type": "array"}, "KEM041", "/type"),
            ({}, {"required": ["KEYS"]}, "KEM041", "/required"),
            ({}, {"dependentRequired": {"KEY": ["NO"]}}, "KEM041", "/dependentRequired/KEY"),
        ],
        ids=str,
    )
    def test_each_fault_has_its_rule_and_its_place(
        self, subschema: dict[str, Any], rest: dict[str, Any], rule: str, pointer: str
    ) -> None:
        """One fault, one finding; its line is that of the keyword."""
        whole = {"description": "About KEY.", "default": None, **subschema}
        if rule == "KEM041" and "items" in subschema:
            whole.pop("default")
            whole["default"] = None
        text = json.dumps({"properties": {"KEY": whole}, **rest}, indent=1)
        _, findings = read(text)
        assert [(each.rule, each.pointer) for each in findings] == [(rule, pointer)]
        last = pointer.rpartition("/")[2]
        assert text.split("\n")[findings[0].line - 1].strip().startswith(json.dumps(last))

    def test_a_setting_needs_a_default_unless_it_is_sensitive(self, make_contract: Text) -> None:
        """A process that cannot reach the store runs on defaults; a secret has none."""
        _, findings = read(make_contract({"A": {"type": "integer"}}))
        assert [(each.rule, each.key) for each in findings] == [("KEM044", "A")]
        sensitive = {"type": "string", "x-kemudi-sensitive": True}
        assert read(make_contract({"A": sensitive}))[1] == ()
        _, findings = read(make_contract({"A": {**sensitive, "default": "canary"}}))
        assert [each.rule for each in findings] == ["KEM044"]
        assert "canary" not in str(findings)

    @pytest.mark.parametrize(
        "key", ["key", "Key", "1KEY", "_KEY", "KE-Y", "KEY ", "\uff2bEY", "\u041aEY", "", "K" * 129, "KEY\n"]
    )
    def test_keys_are_plain_ascii(self, make_contract: Text, key: str) -> None:
        """Look-alikes and spellings that other systems cannot hold are refused."""
        _, findings = read(make_contract({key: {"default": 1}}))
        assert "KEM046" in [each.rule for each in findings]

    @pytest.mark.parametrize(
        ("text", "line", "column"),
        [
            pytest.param("{", 1, 2, id="cut"),
            pytest.param('{"a" 1}', 1, 6, id="colon"),
            pytest.param('{\n "a": NaN}', 2, 7, id="NaN"),
            pytest.param('{"a": 1,\n "a": 2}', 2, 2, id="twice"),
            pytest.param("[1]", 1, 1, id="list"),
            pytest.param("", 1, 1, id="empty"),
            pytest.param('{"a": 1e999}', 1, 7, id="infinite"),
            pytest.param('{"a": ' + "9" * 5_000 + "}", 1, 7, id="digits"),
            pytest.param('{"a": ' + "[" * 20_000, 1, 1, id="deep"),
            pytest.param('{"a": ' + "[" * 100 + "]" * 100 + "}", 1, 1, id="too deep"),
        ],
    )
    def test_what_is_not_json_is_a_finding(self, text: str, line: int, column: int) -> None:
        """Bad JSON, values that JSON does not have, and nesting without end."""
        contract, (finding,) = read(text)
        assert contract is None
        assert (finding.rule, finding.line, finding.column) == ("KEM040", line, column)

    def test_definitions_that_multiply_are_refused(self) -> None:
        """Forty small definitions that each use the next twice would take 2^40 steps to check."""
        definitions = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
        definitions["d40"] = {"type": "integer"}
        key = {"description": "K.", "default": 1, "$ref": "#/$defs/d0"}
        contract, findings = read(json.dumps({"properties": {"KEY": key}, "$defs": definitions}))
        assert contract is None
        assert [each.rule for each in findings] == ["KEM049"]

    def test_a_definition_may_be_used_by_several_settings(self) -> None:
        """References within the contract work, also for types and normalised values."""
        contract = of(
            {"$ref": "#/$defs/sizes", "default": [1]},
            **{
                "$defs": {
                    "sizes": {"type": "array", "items": {"$ref": "#/$defs/size"}},
                    "size": {"type": "integer"},
                }
            },
        )
        assert contract.settings["KEY"].type == "array"
        assert repr(contract.normalise("KEY", [1.0, 2])) == "[1, 2]"
        (problem,) = contract.check_value("KEY", [1, "x"])
        assert problem.message == 'KEY[1] must be a whole number, and is "x"'


INTEGER = {"type": "integer", "minimum": 1, "default": 1}


KEYWORDS = (
    "type",
    "properties",
    "items",
    "enum",
    "const",
    "default",
    "description",
    "pattern",
    "minimum",
    "allOf",
)
WORDS = (
    *KEYWORDS,
    "if",
    "required",
    "$ref",
    "$defs",
    "$id",
    "#/$defs/KEY",
    "KEY",
    "integer",
    "object",
    "(a+",
)
json_like = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-1, 2), st.just(0.5), st.sampled_from(WORDS), st.just("\ud800")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(json_like, json_like, st.dictionaries(st.sampled_from(WORDS), json_like, max_size=3))
def test_no_contract_makes_the_reader_fail(subschema: Any, other: Any, rest: dict[str, Any]) -> None:
    """Whatever JSON a contract holds: a contract that can be used, or findings that say why not."""
    for value in ({"properties": {"KEY": subschema, "OTHER": other}, **rest}, rest, subschema):
        contract, findings = read(json.dumps(value))
        assert contract is not None or findings
        json.dumps([each.as_json() for each in findings]).encode()
        if contract is not None:
            contract.check_value("KEY", {"a": ["text", 1, None]})
            contract.normalise("KEY", [1.0])
            contract.check_together({"KEY": 1})


class TestValues:
    """What a value is served as."""

    @pytest.mark.parametrize(
        ("kind", "value", "served"),
        [
            ("integer", 1000.0, 1000),
            ("integer", -0.0, 0),
            ("number", 1000.0, 1000.0),
            (["integer", "null"], 3.0, 3),
            (["integer", "number"], 3.0, 3.0),
        ],
    )
    def test_a_whole_float_under_an_integer_contract_is_an_integer(
        self, kind: Any, value: Any, served: Any
    ) -> None:
        """`1000.0` is served as 1000 where the contract says integer, and only there."""
        found = of({"type": kind, "default": 1}).normalise("KEY", value)
        assert (found, type(found)) == (served, type(served))

    def test_integers_beyond_two_to_the_53_need_leave(self) -> None:
        """Many JSON readers would change them; `x-kemudi-bigint` allows 64 bits."""
        plain, big = of(INTEGER), of({**INTEGER, "x-kemudi-bigint": True})
        assert plain.check_value("KEY", 2**53) == ()
        assert [each.rule for each in plain.check_value("KEY", 2**53 + 1)] == ["KEM009"]
        assert big.check_value("KEY", 2**63 - 1) == ()

    def test_a_spec_says_all_that_the_contract_says(self) -> None:
        """Every annotation arrives, and the place of the setting in its contract."""
        contract = of(
            {
                "type": "integer",
                "default": 3,
                "x-kemudi-requires-restart": True,
                "x-kemudi-owner": "platform",
                "x-kemudi-unit": "seconds",
                "x-kemudi-expires": "2031-01-31",
            }
        )
        spec = contract.settings["KEY"]
        assert (spec.type, spec.default, spec.has_default, spec.sensitive) == ("integer", 3, True, False)
        assert (spec.requires_restart, spec.owner, spec.unit, spec.expires) == (
            True,
            "platform",
            "seconds",
            "2031-01-31",
        )
        assert contract.restart == {"KEY"}
        assert contract.defaults == {"KEY": 3}
        assert contract.place_of("KEY").file == FILE


class Inner(BaseModel):
    """A structured value."""

    model_config = ConfigDict(extra="forbid")
    title: str = "t"
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Settings(BaseModel):
    """An example."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    APP_SIZE: int = setting(3, description="Size.", unit="rows", owner="platform", ge=1, le=9)
    APP_MODE: Literal["a", "b"] = setting("a", description="Mode.", requires_restart=True)
    APP_INNER: Inner = setting(Inner(), description="Inner.", expires="2031-01-31")
    APP_LIMITS: list[int] = setting([1], description="Limits.", bigint=True)
    APP_TOKEN: Secret[Annotated[str, Field(min_length=3)]] | None = setting(
        None, description="Token.", sensitive=True
    )
    APP_KEY: str = setting(description="Key.", sensitive=True)


class TestModels:
    """A pydantic model is a contract."""

    def test_the_export_is_a_contract_without_findings(self) -> None:
        """What comes out is read back, each setting with its annotations and its own titles kept."""
        schema = contract_from_model("app", Settings)
        contract, findings = read(contract_text(schema))
        assert findings == ()
        assert contract is not None
        assert contract.sensitive == {"APP_TOKEN", "APP_KEY"}
        assert contract.settings["APP_TOKEN"].type == "string"
        assert contract.check_value("APP_TOKEN", "xy") != ()
        assert not contract.settings["APP_KEY"].has_default
        assert contract.settings["APP_LIMITS"].bigint
        assert contract.settings["APP_INNER"].type == "object"
        assert contract.check_value("APP_INNER", {"title": "x", "share": 2})[0].message.startswith(
            "APP_INNER.share"
        )
        text = json.dumps(schema)
        assert "App Size" not in text
        assert '"title": {"default": "t", "type": "string"}' in text
        assert schema["additionalProperties"] is False

    def test_the_export_is_stable(self) -> None:
        """The same model gives the same bytes, keys sorted, so a drift test can compare them."""
        first, second = (contract_text(contract_from_model("app", Settings)) for _ in range(2))
        assert first == second
        assert json.dumps(json.loads(first), sort_keys=True, indent=2, ensure_ascii=False) + "\n" == first

    def test_the_editor_rendering_is_draft_07_and_takes_sealed_values(self) -> None:
        """Editors know draft-07: definitions are moved, nothing is required, and ENC[ passes."""
        import jsonschema

        rendering = editor_rendering(contract_from_model("app", Settings))
        jsonschema.Draft7Validator.check_schema(rendering)
        validator = jsonschema.Draft7Validator(rendering)
        assert validator.is_valid({"APP_TOKEN": "ENC[kemudi:v1,at=…]", "APP_INNER": {"share": 1}})
        assert not validator.is_valid({"APP_INNER": {"share": 2}})
        assert not validator.is_valid({"APP_SIZE": 0})
        assert not validator.is_valid({"OTHER": 1})
        assert "$defs" not in json.dumps(rendering)

    def test_files_are_written_for_contract_and_editor(self, tmp_path: Any) -> None:
        """`write_contracts` makes the folder and both renderings of every category."""
        written = write_contracts({"app": Settings}, tmp_path / "contracts")
        assert [path.relative_to(tmp_path).as_posix() for path in written] == [
            "contracts/app.schema.json",
            "contracts/editor/app.schema.json",
        ]
        assert read(written[0].read_text(encoding="utf-8"))[1] == ()

    def test_a_secret_field_takes_a_secret_or_its_plaintext(self) -> None:
        """Validation keeps a Secret as it is, wraps plaintext, and no dump holds the value."""
        for given_value in (Secret("canary"), "canary"):
            model = Settings(APP_TOKEN=given_value, APP_KEY="k")  # type: ignore[arg-type]
            assert isinstance(model.APP_TOKEN, Secret)
            assert model.APP_TOKEN.reveal() == "canary"
            assert "canary" not in f"{model!r}{model.model_dump_json()}{model}"

    def test_the_rendering_for_editors_and_the_contract_agree_on_plain_values(self) -> None:
        """What an editor underlines is what validation refuses."""
        import jsonschema

        schema = contract_from_model("app", Settings)
        editor, strict = jsonschema.Draft7Validator(editor_rendering(schema)), compile_schema(schema)
        for size in (0, 1, 9, 10, "x", None, 1.0, 1.5, True):
            values = {"APP_SIZE": size, "APP_KEY": "k"}
            assert editor.is_valid(values) == strict.is_valid(values)
