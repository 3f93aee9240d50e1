"""A table of settings and its log in a PostgreSQL database."""

from typing import Any

import pytest
import sqlalchemy

from kemudi.repo.importing.database import open_tables
from kemudi.repo.importing.drafting import draft
from kemudi.repo.importing.dynamic_config import read_dynamic_config
from kemudi.repo.importing.fresh import fresh_state

pytestmark = [pytest.mark.postgresql, pytest.mark.xdist_group("postgresql")]

TABLES = (
    (
        "CREATE TABLE app_config (id serial, key text, value text, data_type text, category text, default_value text,"
        " is_active boolean, is_sensitive boolean, requires_restart boolean)"
    ),
    (
        "CREATE TABLE app_config_history (id serial, config_key text, old_value text, new_value text, changed_by text,"
        " changed_at timestamptz, change_reason text)"
    ),
    (
        "INSERT INTO app_config VALUES (1, 'rate.limit', '120', 'integer', 'api', '100', true, false, true),"
        " (2, 'gone', 'x', 'string', 'api', 'y', false, false, false),"
        " (3, 'upstream_token', 'canary-of-the-table', 'string', 'api', NULL, true, true, false)"
    ),
    (
        "INSERT INTO app_config_history VALUES (2, 'rate.limit', '110', '120', 'b@example.org',"
        " '2024-03-02 07:00+07', 'second'), (1, 'rate.limit', '100', '110', 'a', '2024-03-01 07:00+07', 'first')"
    ),
)


@pytest.fixture
def dsn(postgresql_server: Any) -> str:
    """A database with three settings and two changes, under other column names."""
    address: str = postgresql_server.new_database()
    engine = sqlalchemy.create_engine(address)
    with engine.begin() as connection:
        for statement in TABLES:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return address


def test_types_flags_and_the_log_come_over_in_order(dsn: str) -> None:
    """Columns are found under their usual names; times with a zone become UTC; an author may be an address."""
    with open_tables(dsn) as tables:
        gathered = read_dynamic_config(tables)
    planned = draft(fresh_state("base"), gathered, "base")
    rows = {row.key: row for row in planned.rows}
    assert (rows["RATE_LIMIT"].value, rows["RATE_LIMIT"].type, rows["RATE_LIMIT"].category) == (
        120,
        "integer",
        "api",
    )
    assert rows["GONE"].kind == "unset"
    assert rows["UPSTREAM_TOKEN"].sensitive
    assert "canary-of-the-table" not in repr(gathered) + repr(planned)
    assert planned.state.contracts["api"].settings["RATE_LIMIT"].requires_restart
    assert [(each.new, each.author.email, each.at.hour) for each in gathered.log] == [
        ("110", "a@localhost", 0),
        ("120", "b@example.org", 0),
    ]
