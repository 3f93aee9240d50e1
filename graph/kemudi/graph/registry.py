"""The relational registry of students, classes and who took what, read through SQLAlchemy Core.

Any database that SQLAlchemy speaks to; the statements use nothing beyond standard SQL. Reading goes by keyset pages
on the primary key, so a page costs its own rows and not those before it. Text is put in order by code points, as the
graph does, whatever the database's own order is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    NotSupportedError,
    ProgrammingError,
    SQLAlchemyError,
)

from kemudi.graph.mapping import Names, tables
from kemudi.graph.registry_errors import (
    RegistryContendedError,
    RegistryRefusedError,
    RegistryUnavailableError,
    flaw,
)
from kemudi.schema.errors import KemudiError, UsageError

__all__ = [
    "Registry",
    "RegistryContendedError",
    "RegistryRefusedError",
    "RegistryUnavailableError",
    "Row",
    "Totals",
]

DEFAULT: Final = tables()
METADATA: Final = DEFAULT.metadata
MAHASISWA: Final = DEFAULT.mahasiswa
KELAS: Final = DEFAULT.kelas
RIWAYAT_PENDIDIKAN: Final = DEFAULT.riwayat

_PARAMETERS: Final = 500
_IN_THE_WAY: Final = ("40001", "40P01", "55P03")
"""SQLSTATE of a serialisation failure, of a deadlock, and of a lock that was not to be had."""

_NOT_HELPED: Final = (ProgrammingError, DataError, NotSupportedError)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a student's history, with the names that its nodes need.

    Attributes:
        id: Primary key of `riwayat_pendidikan`; pages are in its order.
        nim: The student.
        nama: The student's name.
        kode: The class.
        kelas_nama: The class's name.
        deleted: Flagged as deleted; it must not be in the graph, unless another live row has the same pair.
    """

    id: int
    nim: str
    nama: str
    kode: str
    kelas_nama: str
    deleted: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """What the registry as a whole is like; it differs whenever a row came, went, or changed with its time.

    Attributes:
        rows: All rows, deleted ones too.
        live: Those that are not deleted.
        lowest: The smallest primary key; 0 without rows.
        highest: The largest one.
        newest: When a row was last changed; None without rows.
    """

    rows: int
    live: int
    lowest: int
    highest: int
    newest: datetime | None


def _wait_for_writers(engine: Engine) -> None:
    """Let a reader of a SQLite file wait for a writer instead of failing at once."""

    def set_timeout(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection has no common type
        cursor.execute("PRAGMA busy_timeout = 10000")
        cursor.close()

    event.listen(engine, "connect", set_timeout)


class Registry:
    """A registry at one address. Safe to use from several threads."""

    def __init__(self, dsn: str, names: Names | None = None) -> None:
        """Open it lazily. Raises UsageError for an address that SQLAlchemy does not understand, or a name.

        Args:
            dsn: A SQLAlchemy address.
            names: Of tables and columns, where they are not the usual ones.
        """
        self._tables = tables(names) if names else DEFAULT
        self._rows = self._tables.riwayat
        try:
            self._engine = create_engine(dsn, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            # The address may hold a password, so neither it nor the library's message is repeated.
            raise UsageError(
                f"the registry's address is not one that SQLAlchemy can open ({type(error).__name__})",
                hint="Write it like sqlite:////var/lib/registry.db or postgresql+psycopg://user@host/name.",
            ) from None
        if self._engine.dialect.name == "sqlite":
            _wait_for_writers(self._engine)

    @property
    def engine(self) -> Engine:
        """For the generator and for tests, which write."""
        return self._engine

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def check(self) -> None:
        """Raises RegistryRefusedError that names the first table or column that is missing or of a wrong kind."""
        with self._reading() as connection:
            found = flaw(connection, self._tables)
        if found is not None:
            raise found

    def totals(self) -> Totals:
        """The registry as a whole, in one look."""
        table = self._rows
        columns = (
            func.count(),
            func.count().filter(_live(table)),
            func.min(table.c.id),
            func.max(table.c.id),
        )
        with self._reading() as connection:
            found = connection.execute(select(*columns, func.max(table.c.updated_at))).one()
        return Totals(int(found[0]), int(found[1]), int(found[2] or 0), int(found[3] or 0), found[4])

    def count_between(self, after_id: int, until_id: int) -> int:
        """Rows with `after_id < id <= until_id`, deleted ones included."""
        table = self._rows
        query = select(func.count()).select_from(table).where(table.c.id > after_id, table.c.id <= until_id)
        return int(self._one(query) or 0)

    def page(self, after_id: int, limit: int, until_id: int | None = None) -> list[Row]:
        """At most `limit` rows, deleted ones included, in the order of `id`, with `after_id < id <= until_id`."""
        table = self._rows
        query = self._named(select(*self._columns_of_a_row()).select_from(table))
        query = query.where(table.c.id > after_id).order_by(table.c.id).limit(limit)
        if until_id is not None:
            query = query.where(table.c.id <= until_id)
        with self._reading() as connection:
            return [Row(*found) for found in connection.execute(query)]

    def ranges(self, parts: int) -> list[tuple[int, int]]:
        """`parts` ranges (after, until] of keys that cover all rows, each with about as many."""
        totals, table = self.totals(), self._rows
        if totals.rows == 0:
            return []
        bounds = [totals.lowest - 1]
        for part in range(1, parts):
            offset = totals.rows * part // parts
            bound = self._one(select(table.c.id).order_by(table.c.id).offset(offset).limit(1))
            if bound is not None and bound - 1 > bounds[-1]:
                bounds.append(int(bound) - 1)
        return list(zip(bounds, [*bounds[1:], totals.highest], strict=True))

    def students_until(self, after: str, count: int) -> str | None:
        """The nim that ends a range of some `count` students behind `after`; None: it is open to the end."""
        return self._until(self._rows.c.nim, after, count)

    def classes_until(self, after: str, count: int) -> str | None:
        """As `students_until`, by kode."""
        return self._until(self._rows.c.kode, after, count)

    def _until(self, column: ColumnElement[str], after: str, count: int) -> str | None:
        key = self._ordered(column)
        found: str | None = self._one(
            select(key).distinct().where(key > after).order_by(key).offset(count).limit(1)
        )
        return found

    def edges(self, after: str = "", until: str | None = None) -> list[tuple[str, str]]:
        """Distinct live pairs (nim, kode) with `after < nim <= until`, in order: what the graph must hold."""
        nim, kode = self._ordered(self._rows.c.nim), self._ordered(self._rows.c.kode)
        query = self._live_pairs(nim, kode).where(nim > after).order_by(nim, kode)
        if until is not None:
            query = query.where(nim <= until)
        with self._reading() as connection:
            return [(found[0], found[1]) for found in connection.execute(query)]

    def rows_of(self, pairs: list[tuple[str, str]]) -> list[Row]:
        """One live row for each of `pairs` that has one, with its names."""
        live = self.live_pairs(pairs)
        names, titles = (
            self._names(self._tables.mahasiswa, {nim for nim, _ in live}),
            self._names(self._tables.kelas, {kode for _, kode in live}),
        )
        return [Row(0, nim, names[nim], kode, titles[kode], deleted=False) for nim, kode in sorted(live)]

    def live_pairs(self, pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of `pairs` that a live row still holds."""
        table = self._rows
        students = sorted({nim for nim, _ in pairs})
        found: set[tuple[str, str]] = set()
        with self._reading() as connection:
            # In parts, since databases bound the parameters of a statement.
            for start in range(0, len(students), _PARAMETERS):
                query = self._live_pairs(table.c.nim, table.c.kode)
                query = query.where(table.c.nim.in_(students[start : start + _PARAMETERS]))
                found.update((each[0], each[1]) for each in connection.execute(query))
        return found & set(pairs)

    def changes(self, since: datetime, after_id: int, limit: int) -> list[tuple[datetime, Row]]:
        """At most `limit` rows behind (`since`, `after_id`) in the order of (`updated_at`, `id`), deleted ones too."""
        table = self._rows
        query = self._named(select(table.c.updated_at, *self._columns_of_a_row()).select_from(table))
        query = (
            query.where(self._behind(since, after_id)).order_by(table.c.updated_at, table.c.id).limit(limit)
        )
        with self._reading() as connection:
            return [(found[0], Row(*found[1:])) for found in connection.execute(query)]

    def count_changes(self, since: datetime, after_id: int) -> int:
        """How many rows `changes` would give in all."""
        query = select(func.count()).select_from(self._rows).where(self._behind(since, after_id))
        return int(self._one(query) or 0)

    def count_pairs(self) -> int:
        """Distinct live pairs (nim, kode): how many relationships the graph must hold."""
        pairs = self._live_pairs(self._rows.c.nim, self._rows.c.kode).subquery()
        return int(self._one(select(func.count()).select_from(pairs)) or 0)

    def count_orphans(self) -> int:
        """Live rows whose student or class is not in the registry: no page has them, and the graph does not."""
        table = self._rows
        named = self._named(select(table.c.id).select_from(table)).where(_live(table)).subquery()
        return self.totals().live - int(self._one(select(func.count()).select_from(named)) or 0)

    def students_named(self, after: str, until: str | None) -> dict[str, str]:
        """Name by nim of the students with a live pair, with `after < nim <= until`."""
        return self._named_keys(self._tables.mahasiswa, after, until)

    def classes_named(self, after: str, until: str | None) -> dict[str, str]:
        """Name by kode of the classes with a live pair, with `after < kode <= until`."""
        return self._named_keys(self._tables.kelas, after, until)

    def _named_keys(self, table: Table, after: str, until: str | None) -> dict[str, str]:
        key = table.primary_key.columns[0]
        taken = self._rows.c[key.key]

        def within(column: ColumnElement[str]) -> ColumnElement[bool]:
            ordered = self._ordered(column)
            return ordered > after if until is None else (ordered > after) & (ordered <= until)

        # Bounded twice: else the database would look at the pairs of all ranges for each one.
        used = self._named(select(taken).select_from(self._rows)).where(_live(self._rows), within(taken))
        query = select(key, table.c.nama).where(within(key), key.in_(used))
        with self._reading() as connection:
            return {each[0]: each[1] for each in connection.execute(query)}

    def _names(self, table: Table, keys: set[str]) -> dict[str, str]:
        key, name, wanted = table.primary_key.columns[0], table.c.nama, sorted(keys)
        with self._reading() as connection:
            return {
                found[0]: found[1]
                for start in range(0, len(wanted), _PARAMETERS)
                for found in connection.execute(
                    select(key, name).where(key.in_(wanted[start : start + _PARAMETERS]))
                )
            }

    def _columns_of_a_row(self) -> tuple[Column[Any], ...]:
        table, mahasiswa, kelas = self._rows, self._tables.mahasiswa, self._tables.kelas
        return (table.c.id, table.c.nim, mahasiswa.c.nama, table.c.kode, kelas.c.nama, table.c.deleted)

    def _named(self, columns: Select[Any]) -> Select[Any]:
        """Only rows whose student and class are there: others have no name to show and stay out of the graph."""
        table, mahasiswa, kelas = self._rows, self._tables.mahasiswa, self._tables.kelas
        return columns.join(mahasiswa, mahasiswa.c.nim == table.c.nim).join(
            kelas, kelas.c.kode == table.c.kode
        )

    def _live_pairs(self, nim: ColumnElement[str], kode: ColumnElement[str]) -> Select[Any]:
        """The distinct pairs that the graph must hold."""
        pair: tuple[ColumnElement[Any], ...] = (nim, kode)
        return self._named(select(*pair).select_from(self._rows).distinct()).where(_live(self._rows))

    def _behind(self, since: datetime, after_id: int) -> ColumnElement[bool]:
        table = self._rows
        return (table.c.updated_at > since) | ((table.c.updated_at == since) & (table.c.id > after_id))

    def _ordered(self, column: ColumnElement[str]) -> ColumnElement[str]:
        """A column of text in the order of code points, which is the graph's. SQLite has no other."""
        return column.collate("C") if self._engine.dialect.name == "postgresql" else column

    def _one(self, query: Select[Any]) -> Any:  # a value of a column
        with self._reading() as connection:
            return connection.scalar(query)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            raise self._explained(error) from error
        except SQLAlchemyError as error:
            raise RegistryUnavailableError(f"the registry cannot be read ({type(error).__name__})") from error
        except ValueError as error:  # from a column's type, as for a time that is none
            raise RegistryRefusedError(
                "the registry holds a value that its column's type cannot be",
                hint="Look at updated_at and deleted of riwayat_pendidikan.",
            ) from error

    def _explained(self, error: DBAPIError) -> KemudiError:
        """The error of the class that says what may help. The driver's message can hold address and parameters."""
        kind = type(error.orig).__name__
        if getattr(error.orig, "sqlstate", None) in _IN_THE_WAY:
            return RegistryContendedError(
                f"the registry gave up a statement for another transaction ({kind})"
            )
        if not error.connection_invalidated:
            found = self._flaw_if_reachable()
            if found is not None:
                return found
            if isinstance(error, _NOT_HELPED):
                return RegistryRefusedError(
                    f"the registry refuses a statement ({kind})",
                    hint="Check the mapping, and that the user may read the three tables.",
                )
        return RegistryUnavailableError(
            f"the registry cannot be read ({kind})", hint="Check the registry's address."
        )

    def _flaw_if_reachable(self) -> RegistryRefusedError | None:
        try:
            with self._engine.connect() as connection:
                return flaw(connection, self._tables)
        except SQLAlchemyError:
            return None


def _live(table: Table) -> ColumnElement[bool]:
    """Not flagged as deleted; nothing at all is no flag."""
    return table.c.deleted.is_not(True)
