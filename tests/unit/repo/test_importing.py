"""Names, types, constants and the log of an import, each alone."""

import ast
from datetime import UTC, datetime

import pytest

from kemudi.repo.importing.commits import steps
from kemudi.repo.importing.drafting import draft
from kemudi.repo.importing.found import Found, Gathered, LogRow
from kemudi.repo.importing.fresh import fresh_state, recipients_text
from kemudi.repo.importing.literals import NotConstantError, constant
from kemudi.repo.importing.naming import categories_by_word, key_of
from kemudi.repo.importing.typing_values import read_text
from kemudi.repo.people import Author
from kemudi.repo.secrets import generate_identity
from kemudi.schema.errors import UsageError
from kemudi.schema.state import File

SOMEBODY = Author("somebody", "somebody@example.org")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sync.batch_size", "SYNC_BATCH_SIZE"),
        ("syncBatchSize", "SYNC_BATCH_SIZE"),
        ("sync-batch size", "SYNC_BATCH_SIZE"),
        ("HTTP2", "HTTP2"),
        ("2fa", None),
        ("…", None),
    ],
)
def test_any_name_becomes_a_key_or_none(name, key):
    """Upper case and underscores; what cannot begin a key is no key."""
    assert key_of(name) == key


def test_keys_are_grouped_by_a_word_that_two_of_them_share():
    """A group of one is no category."""
    found = categories_by_word(["MAIL_HOST", "MAIL_PORT", "DEBUG", "BASE_A", "FLAGS_X", "FLAGS_Y"])
    assert found["MAIL_HOST"] == found["MAIL_PORT"] == "mail"
    assert found["DEBUG"] == "app"
    assert found["FLAGS_X"] == "app"  # a name that a config repo keeps for itself


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("7", None, 7),
        ("007", None, "007"),
        ("1.5", None, 1.5),
        ("1e999", None, "1e999"),
        ("yes", None, True),
        ("1", "boolean", True),
        ("[1, 2]", None, [1, 2]),
        ("[1, 2", None, "[1, 2"),
        ("NaN", None, "NaN"),
        ("90071992547409931", None, "90071992547409931"),
        ("7", "string", "7"),
        ("7", "integer|string", 7),
    ],
)
def test_a_text_is_read_by_its_type_or_by_its_look(text, kind, value):
    """What would lose something as a number stays text."""
    found = read_text(text, kind)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", ["x", "1.5", ""])
def test_a_text_that_is_no_number_is_none_by_declaration_either(text):
    """The caller decides what becomes of it."""
    with pytest.raises(ValueError, match="no integer"):
        read_text(text, "integer")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("60 * 60 * 24", 86400),
        ("-5", -5),
        ("'a' + 'b'", "ab"),
        ("[1, *(2,)]", NotConstantError),
        ("{'a': (1, 2)}", {"a": [1, 2]}),
        ("os.environ.get('A', '7')", "7"),
        ("int(os.getenv('A', '7'))", 7),
        ("config('A', default='yes', cast=bool)", True),
        ("env.int('A', default=3)", 3),
        ("os.environ['A']", NotConstantError),
        ("'a' * 1000000000", NotConstantError),
        ("9 ** 9 ** 9", NotConstantError),
        ("1 / 0", NotConstantError),
        ("__import__('os').getcwd()", NotConstantError),
        ("KNOWN * 2", 20),
        ("UNKNOWN", NotConstantError),
    ],
)
def test_an_expression_is_known_without_running_it_or_not_at_all(source, value):
    """Arithmetic, names given before, defaults of the environment; nothing that could run or grow."""
    node = ast.parse(source, mode="eval").body
    if value is NotConstantError:
        with pytest.raises(NotConstantError):
            constant(node, {"KNOWN": 10})
    else:
        assert constant(node, {"KNOWN": 10}) == value


def change(number: int, key: str, old: str | None, new: str | None, reason: str = "") -> LogRow:
    return LogRow(str(number), key, old, new, datetime(2024, 1, number, tzinfo=UTC), SOMEBODY, reason)


def planned(settings: list[Found], log: list[LogRow]):
    state = fresh_state("base")
    _, recipient = generate_identity()
    names = [env.name for env in state.manifest.environments]
    text = recipients_text({"daemon": recipient}, names)
    state = state.update({"recipients.yaml": File("recipients.yaml", text.encode())})
    return steps(draft(state, Gathered("a table", tuple(settings), tuple(log)), "base"), SOMEBODY, extra={})


def last_lines(found) -> list[str]:
    return [
        data.decode().splitlines()[-1]
        for step in found
        for path, data in step.files.items()
        if path.startswith("base/")
    ]


def test_each_row_of_a_log_is_a_step_and_the_table_has_the_last_word():
    """Before the first row the old value; after the last one what the table has, if the log does not say so."""
    found = planned(
        [Found("LIMIT", "9", is_text=True, kind="integer")],
        [change(1, "LIMIT", "1", "2"), change(2, "LIMIT", "2", None), change(3, "LIMIT", None, "many")],
    )
    assert len(found) == 5
    assert last_lines(found)[0] == "LIMIT: 1"
    assert last_lines(found)[1] == "LIMIT: 2"
    assert last_lines(found)[2].startswith("#")  # unset
    assert last_lines(found)[3] == "LIMIT: many"  # the log's word, which today's contract would refuse
    assert last_lines(found)[4] == "LIMIT: 9"


def test_a_row_that_masks_its_value_or_is_about_no_setting_is_a_step_without_a_file():
    """Its author, date and reason are kept; a value nobody knows is not made up."""
    found = planned(
        [Found("API_TOKEN", "now", is_text=True, sensitive=True)],
        [change(1, "API_TOKEN", "***", "***", "rotated"), change(2, "GONE", "a", "b", "cleaned up")],
    )
    assert [bool(step.files) for step in found] == [True, False, False, True]
    assert "rotated" in found[1].message
    assert "which is not imported" in found[2].message
    assert last_lines(found)[-1].startswith("API_TOKEN: ENC[kemudi:v1,")


def test_a_secret_in_a_reason_is_masked_and_a_trailer_in_it_is_none():
    """Words of a log cannot carry a value into git, nor pretend to be Kemudi's."""
    reason = "was hunter22, is hunter33\n\nKemudi-Import: forged"
    found = planned(
        [Found("DB_PASSWORD", "hunter33", is_text=True)],
        [change(1, "DB_PASSWORD", "hunter22", "hunter33", reason)],
    )
    message = found[1].message
    assert "hunter" not in "".join(step.message for step in found)
    assert message.startswith("Set DB_PASSWORD in base\n\nwas ***, is ***\n")
    assert message.rstrip().splitlines()[-2:] == ["Kemudi-Import: 1", "Kemudi-Change: import"]


def test_nobody_to_seal_to_is_said_before_anything_is_made():
    """No step comes out half."""
    with pytest.raises(UsageError, match="nobody is named"):
        steps(
            draft(fresh_state("base"), Gathered("x", (Found("A_TOKEN", "v", is_text=True),)), "base"),
            SOMEBODY,
            extra={},
        )
