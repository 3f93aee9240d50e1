"""The relational registry of students, classes and who took what, read through SQLAlchemy Core.

Any database that SQLAlchemy speaks to; the statements use nothing beyond standard SQL. Reading goes by keyset pages
on the primary key, so a page costs its own rows and not those before it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from kemudi.schema.errors import UnavailableError, UsageError

METADATA: Final = MetaData()

_PARAMETERS: Final = 500

MAHASISWA: Final = Table(
    "mahasiswa",
    METADATA,
    Column("nim", String(20), primary_key=True),
    Column("nama", String(120), nullable=False),
)
KELAS: Final = Table(
    "kelas",
    METADATA,
    Column("kode", String(20), primary_key=True),
    Column("nama", String(120), nullable=False),
)
RIWAYAT_PENDIDIKAN: Final = Table(
    "riwayat_pendidikan",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("nim", ForeignKey(MAHASISWA.c.nim), nullable=False),
    Column("kode", ForeignKey(KELAS.c.kode), nullable=False),
    Column("semester", Integer, nullable=False),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("riwayat_pendidikan_pair", "nim", "kode"),
    Index("riwayat_pendidikan_class", "kode"),
    Index("riwayat_pendidikan_updated", "updated_at", "id"),
)


class RegistryUnavailableError(UnavailableError):
    """The registry cannot be reached or read now. What was synced stays; the next run goes on from its checkpoint."""


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


def _wait_for_writers(engine: Engine) -> None:
    """Let a reader of a SQLite file wait for a writer instead of failing at once."""

    def set_timeout(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection has no common type
        cursor.execute("PRAGMA busy_timeout = 10000")
        cursor.close()

    event.listen(engine, "connect", set_timeout)


def _named(columns: Select[Any]) -> Select[Any]:
    """Only rows whose student and class the registry has: others have no name to show and stay out of the graph."""
    table = RIWAYAT_PENDIDIKAN
    return columns.join(MAHASISWA, MAHASISWA.c.nim == table.c.nim).join(KELAS, KELAS.c.kode == table.c.kode)


def _live_pairs() -> Select[Any]:
    """The distinct pairs that the graph must hold."""
    table = RIWAYAT_PENDIDIKAN
    return _named(select(table.c.nim, table.c.kode).select_from(table).distinct()).where(~table.c.deleted)


def _behind(since: datetime, after_id: int) -> ColumnElement[bool]:
    table = RIWAYAT_PENDIDIKAN
    return (table.c.updated_at > since) | ((table.c.updated_at == since) & (table.c.id > after_id))


class Registry:
    """A registry at one address. Safe to use from several threads."""

    def __init__(self, dsn: str) -> None:
        """Open it lazily. Raises UsageError for an address that SQLAlchemy does not understand."""
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

    def count(self) -> int:
        """Live rows."""
        table = RIWAYAT_PENDIDIKAN
        with self._reading() as connection:
            return int(
                connection.scalar(select(func.count()).select_from(table).where(~table.c.deleted)) or 0
            )

    def count_between(self, after_id: int, until_id: int) -> int:
        """Rows with `after_id < id <= until_id`, deleted ones included."""
        table = RIWAYAT_PENDIDIKAN
        query = select(func.count()).select_from(table).where(table.c.id > after_id, table.c.id <= until_id)
        with self._reading() as connection:
            return int(connection.scalar(query) or 0)

    def highest_id(self) -> int:
        """The largest primary key, deleted rows included; 0 when there are none."""
        with self._reading() as connection:
            return int(connection.scalar(select(func.max(RIWAYAT_PENDIDIKAN.c.id))) or 0)

    def page(self, after_id: int, limit: int, until_id: int | None = None) -> list[Row]:
        """At most `limit` rows, deleted ones included, in the order of `id`, with `after_id < id <= until_id`."""
        table = RIWAYAT_PENDIDIKAN
        columns = select(
            table.c.id, table.c.nim, MAHASISWA.c.nama, table.c.kode, KELAS.c.nama, table.c.deleted
        )
        query = (
            _named(columns.select_from(table)).where(table.c.id > after_id).order_by(table.c.id).limit(limit)
        )
        if until_id is not None:
            query = query.where(table.c.id <= until_id)
        with self._reading() as connection:
            return [Row(*found) for found in connection.execute(query)]

    def ranges(self, parts: int) -> list[tuple[int, int]]:
        """`parts` ranges (after, until] of keys that cover all rows, each with about as many."""
        highest = self.highest_id()
        if highest == 0:
            return []
        table = RIWAYAT_PENDIDIKAN
        with self._reading() as connection:
            total = int(connection.scalar(select(func.count()).select_from(table)) or 0)
            bounds = [0]
            for part in range(1, parts):
                offset = total * part // parts
                bound = connection.scalar(select(table.c.id).order_by(table.c.id).offset(offset).limit(1))
                if bound is not None and bound - 1 > bounds[-1]:
                    bounds.append(int(bound) - 1)
        return list(zip(bounds, [*bounds[1:], highest], strict=True))

    def students_until(self, after: str, count: int) -> str | None:
        """The nim that ends a range of some `count` students behind `after`; None: it is open to the end."""
        table = RIWAYAT_PENDIDIKAN
        query = (
            select(table.c.nim)
            .distinct()
            .where(table.c.nim > after)
            .order_by(table.c.nim)
            .offset(count)
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(query)

    def edges(self, after: str = "", until: str | None = None) -> list[tuple[str, str]]:
        """Distinct live pairs (nim, kode) with `after < nim <= until`, in order: what the graph must hold."""
        table = RIWAYAT_PENDIDIKAN
        query = _live_pairs().where(table.c.nim > after).order_by(table.c.nim, table.c.kode)
        if until is not None:
            query = query.where(table.c.nim <= until)
        with self._reading() as connection:
            return [(found[0], found[1]) for found in connection.execute(query)]

    def rows_of(self, pairs: list[tuple[str, str]]) -> list[Row]:
        """One live row for each of `pairs` that has one, with its names."""
        live = self.live_pairs(pairs)
        names, titles = (
            self._names(MAHASISWA, {nim for nim, _ in live}),
            self._names(KELAS, {kode for _, kode in live}),
        )
        return [Row(0, nim, names[nim], kode, titles[kode], deleted=False) for nim, kode in sorted(live)]

    def live_pairs(self, pairs: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of `pairs` that a live row still holds."""
        table = RIWAYAT_PENDIDIKAN
        students = sorted({nim for nim, _ in pairs})
        found: set[tuple[str, str]] = set()
        with self._reading() as connection:
            # In parts, since databases bound the parameters of a statement.
            for start in range(0, len(students), _PARAMETERS):
                query = _live_pairs().where(table.c.nim.in_(students[start : start + _PARAMETERS]))
                found.update((each[0], each[1]) for each in connection.execute(query))
        return found & set(pairs)

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

    def watermark(self) -> tuple[int, str]:
        """A value that changes when rows are added, changed or flagged: number of rows and newest change."""
        table = RIWAYAT_PENDIDIKAN
        with self._reading() as connection:
            count, newest = connection.execute(
                select(func.count(), func.max(table.c.updated_at)).select_from(table)
            ).one()
        return int(count), str(newest)

    def newest_change(self) -> datetime | None:
        """When a row was last changed; None without rows."""
        with self._reading() as connection:
            newest: datetime | None = connection.scalar(select(func.max(RIWAYAT_PENDIDIKAN.c.updated_at)))
        return newest

    def changes(self, since: datetime, after_id: int, limit: int) -> list[tuple[datetime, Row]]:
        """At most `limit` rows behind (`since`, `after_id`) in the order of (`updated_at`, `id`), deleted ones too."""
        table = RIWAYAT_PENDIDIKAN
        columns = select(
            table.c.updated_at,
            table.c.id,
            table.c.nim,
            MAHASISWA.c.nama,
            table.c.kode,
            KELAS.c.nama,
            table.c.deleted,
        )
        query = (
            _named(columns.select_from(table))
            .where(_behind(since, after_id))
            .order_by(table.c.updated_at, table.c.id)
            .limit(limit)
        )
        with self._reading() as connection:
            return [(found[0], Row(*found[1:])) for found in connection.execute(query)]

    def count_changes(self, since: datetime, after_id: int) -> int:
        """How many rows `changes` would give in all."""
        query = select(func.count()).select_from(RIWAYAT_PENDIDIKAN).where(_behind(since, after_id))
        with self._reading() as connection:
            return int(connection.scalar(query) or 0)

    def count_pairs(self) -> int:
        """Distinct live pairs (nim, kode): how many relationships the graph must hold."""
        with self._reading() as connection:
            return int(connection.scalar(select(func.count()).select_from(_live_pairs().subquery())) or 0)

    def count_orphans(self) -> int:
        """Live rows whose student or class is not in the registry: no page has them, and the graph does not."""
        table = RIWAYAT_PENDIDIKAN
        named = select(func.count()).select_from(
            _named(select(table.c.id).select_from(table)).where(~table.c.deleted).subquery()
        )
        with self._reading() as connection:
            return self.count() - int(connection.scalar(named) or 0)

    def students_named(self, after: str, until: str | None) -> dict[str, str]:
        """Name by nim of the students with a live pair, with `after < nim <= until`."""
        return self._named_keys(MAHASISWA, after, until)

    def classes_named(self, after: str, until: str | None) -> dict[str, str]:
        """Name by kode of the classes with a live pair, with `after < kode <= until`."""
        return self._named_keys(KELAS, after, until)

    def _named_keys(self, table: Table, after: str, until: str | None) -> dict[str, str]:
        key = table.primary_key.columns[0]
        query = select(key, table.c.nama).where(key > after)
        if until is not None:
            query = query.where(key <= until)
        used = _live_pairs().subquery()
        with self._reading() as connection:
            found = connection.execute(query.where(key.in_(select(used.c[key.name]))))
            return {each[0]: each[1] for each in found}

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            # The driver's message can hold the address, and the statement's parameters.
            raise RegistryUnavailableError(
                f"the registry cannot be read ({type(error.orig).__name__})",
                hint="Check the registry's address.",
            ) from error
        except SQLAlchemyError as error:
            raise RegistryUnavailableError(f"the registry cannot be read ({type(error).__name__})") from error
        except ValueError as error:  # from a column's type, as for a time that is none
            raise RegistryUnavailableError(
                "the registry holds a value that its column's type cannot be",
                hint="Look at updated_at and deleted of riwayat_pendidikan.",
            ) from error
