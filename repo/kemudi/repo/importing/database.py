"""Tables read through SQLAlchemy: which columns there are, under which of their usual names, and their rows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from kemudi.schema.errors import UnavailableError, UsageError

if TYPE_CHECKING:  # SQLAlchemy comes with the extra for databases
    from sqlalchemy import Connection

_TABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)?")
_PASSWORD: Final = re.compile(r"(?<=://)[^/\s]*@")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table under the names that were asked for; a column that is not there gives None."""

    table: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]


class Tables:
    """One open database. Reads only."""

    def __init__(self, connection: "Connection") -> None:
        from sqlalchemy import inspect

        self._connection = connection
        self._inspector = inspect(connection)

    def names(self) -> list[str]:
        """Every table, and every view."""
        return sorted([*self._inspector.get_table_names(), *self._inspector.get_view_names()])

    def columns(self, table: str) -> list[str]:
        """The columns of a table. Raises UsageError when it is not there."""
        from sqlalchemy.exc import NoSuchTableError

        schema, name = _parts(table)
        try:
            return [column["name"] for column in self._inspector.get_columns(name, schema=schema)]
        except NoSuchTableError:
            raise UsageError(
                f"there is no table {table}; there are: {', '.join(self.names()[:40])}"
            ) from None

    def find(self, words: Sequence[Sequence[str]]) -> str | None:
        """The only table that has a column of each group of names; None if there is none, or several."""
        found = [
            name for name in self.names() if all(set(group) & set(self.columns(name)) for group in words)
        ]
        return found[0] if len(found) == 1 else None

    def rows(self, table: str, wanted: Mapping[str, Sequence[str]], required: Sequence[str]) -> Rows:
        """The rows of a table.

        Args:
            table: Its name, with a schema or without.
            wanted: Name → how such a column is called.
            required: Names that have to be there.

        Raises UsageError when a required column is missing.
        """
        from sqlalchemy import column, select
        from sqlalchemy import table as table_clause

        there = {name.lower(): name for name in self.columns(table)}
        chosen = {
            name: next((there[each] for each in spellings if each in there), None)
            for name, spellings in wanted.items()
        }
        missing = [name for name in required if chosen[name] is None]
        if missing:
            raise UsageError(
                f"the table {table} has no column for {', '.join(missing)}; it has: {', '.join(there.values())}"
            )
        schema, bare = _parts(table)
        used = {name: each for name, each in chosen.items() if each is not None}
        clause = table_clause(bare, *(column(each) for each in dict.fromkeys(used.values())), schema=schema)
        found = self._connection.execute(select(*(clause.c[each].label(name) for name, each in used.items())))
        rows = tuple({**dict.fromkeys(wanted), **row} for row in found.mappings())
        return Rows(table, used, rows)


@contextmanager
def open_tables(dsn: str) -> Iterator[Tables]:
    """Open a database by its SQLAlchemy URL. Raises UsageError, UnavailableError; never with the password."""
    try:
        import sqlalchemy
    except ImportError:
        raise UsageError("reading a database needs SQLAlchemy", hint="pip install 'kemudi[graph]'") from None
    try:
        url = _url(dsn)
        engine = sqlalchemy.create_engine(url)
    except (sqlalchemy.exc.ArgumentError, ImportError) as error:
        needs = f": {error}" if isinstance(error, ImportError) else ""
        raise UsageError(
            f"this is no address of a database{needs}",
            hint="sqlite:///db.sqlite3, or postgresql+psycopg://user@host/database",
        ) from None
    try:
        with engine.connect() as connection:
            yield Tables(connection)
    except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.DatabaseError) as error:
        raise UnavailableError(f"the database cannot be read: {_said(error)}") from None
    finally:
        engine.dispose()


def moment(value: object) -> datetime | None:
    """A time of a database in UTC; one without a time zone is taken for UTC. None if it is no time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def truth(value: object, otherwise: bool) -> bool:  # the answer when the column says nothing
    """A boolean column, however the database keeps it."""
    if value is None:
        return otherwise
    return (
        str(value).strip().lower() in ("1", "true", "t", "yes", "y")
        if isinstance(value, str)
        else bool(value)
    )


def _url(dsn: str) -> Any:  # SQLAlchemy's URL
    from pathlib import Path

    from sqlalchemy.engine import make_url

    url = make_url(dsn)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    # SQLite would make an empty database of a mistyped name.
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise UsageError(f"there is no database {url.database}")
    return url


def _parts(table: str) -> tuple[str | None, str]:
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{table!r} is no name of a table")
    schema, _, name = table.rpartition(".")
    return schema or None, name


def _said(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    first = (str(original).strip().splitlines() or [type(error).__name__])[0]
    return _PASSWORD.sub("***@", first)
