"""Which tables and columns of a registry hold what, by names that are checked before use.

The labels of the graph are no part of it: they stand in the query files, and no text ever becomes Cypher.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Index, Integer, MetaData, String, Table

from kemudi.schema.errors import UsageError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)

Names = Mapping[str, Mapping[str, str]]
"""For each table its own name (`table`, `schema`) and its columns'; what is left out keeps its default."""

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "mahasiswa": ("nim", "nama"),
    "kelas": ("kode", "nama"),
    "riwayat_pendidikan": ("id", "nim", "kode", "semester", "deleted", "updated_at"),
}
"""Tables and columns by the names that the rest of the code has for them."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The three tables of one registry; their columns are reached by the names of COLUMNS."""

    mahasiswa: Table
    kelas: Table
    riwayat: Table

    @property
    def metadata(self) -> MetaData:
        """Of all three, to make them."""
        return self.riwayat.metadata

    def each(self) -> tuple[Table, ...]:
        """All three."""
        return tuple(getattr(self, field.name) for field in fields(self))


def tables(names: Names | None = None) -> Tables:
    """The tables by their names in one registry. Raises UsageError for a name that cannot be one."""
    given = {} if names is None else _checked(names)
    metadata = MetaData()

    def text(length: int) -> String:
        # In the graph's order of text, which is that of code points, so that indexes serve ranges of keys.
        return String(length).with_variant(String(length, collation="C"), "postgresql")

    def table(name: str, *columns: Any) -> Table:  # what SQLAlchemy takes
        own = given.get(name, {})
        return Table(own.get("table", name), metadata, *columns, schema=own.get("schema"))

    def column(of: str, key: str, *rest: Any, **options: Any) -> Any:  # as above
        return Column(given.get(of, {}).get(key, key), *rest, key=key, **options)

    mahasiswa = table(
        "mahasiswa",
        column("mahasiswa", "nim", text(20), primary_key=True),
        column("mahasiswa", "nama", String(120), nullable=False),
    )
    kelas = table(
        "kelas",
        column("kelas", "kode", text(20), primary_key=True),
        column("kelas", "nama", String(120), nullable=False),
    )
    riwayat = table(
        "riwayat_pendidikan",
        column("riwayat_pendidikan", "id", Integer, primary_key=True),
        column("riwayat_pendidikan", "nim", text(20), ForeignKey(mahasiswa.c.nim), nullable=False),
        column("riwayat_pendidikan", "kode", text(20), ForeignKey(kelas.c.kode), nullable=False),
        column("riwayat_pendidikan", "semester", Integer, nullable=False),
        column("riwayat_pendidikan", "deleted", Boolean, nullable=False, default=False),
        column("riwayat_pendidikan", "updated_at", DateTime(timezone=True), nullable=False),
        Index("riwayat_pendidikan_pair", "nim", "kode"),
        Index("riwayat_pendidikan_class", "kode"),
        Index("riwayat_pendidikan_updated", "updated_at", "id"),
    )
    return Tables(mahasiswa, kelas, riwayat)


def _checked(names: object) -> Names:
    """Only known tables and columns, and only names that need no quoting: nothing of it can end a statement."""
    if not isinstance(names, Mapping):
        raise UsageError("a mapping is tables with their names", hint=f"Its parts are {', '.join(COLUMNS)}.")
    for table, own in names.items():
        if table not in COLUMNS or not isinstance(own, Mapping):
            raise UsageError(
                f"a mapping has no part {str(table)[:40]!r}", hint=f"Its parts are {', '.join(COLUMNS)}."
            )
        known = ("table", "schema", *COLUMNS[table])
        for key, name in own.items():
            if key not in known:
                raise UsageError(
                    f"{table} has no {str(key)[:40]!r} to map", hint=f"It has {', '.join(known)}."
                )
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise UsageError(
                    f"{table}.{key} is not mapped to a name",
                    hint="A name has letters, digits and underscores, at most 63, and no digit first.",
                )
    return names
