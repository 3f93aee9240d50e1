"""How reading a registry fails, by what may help, and what its tables lack that the statements need."""

from sqlalchemy import Connection, Integer, String, inspect
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import NullType, TypeEngine

from kemudi.graph.mapping import Tables
from kemudi.schema.errors import RefusedError, UnavailableError

_UNREAD = ("semester",)
"""The graph has none."""


class RegistryUnavailableError(UnavailableError):
    """The registry cannot be reached or read now. What was synced stays; the next run goes on from its checkpoint."""


class RegistryContendedError(RegistryUnavailableError):
    """The registry gave up a statement for another transaction, as on a serialisation failure. Soon is another try."""


class RegistryRefusedError(RefusedError):
    """The registry is not as expected, as without a column, or refuses to be read. Trying again does not help."""


def flaw(connection: Connection, tables: Tables) -> RegistryRefusedError | None:
    """The first table or column that is missing or of a wrong kind; None when all is well."""
    catalogue = inspect(connection)
    for table in tables.each():
        try:
            found = catalogue.get_columns(table.name, schema=table.schema)
        except NoSuchTableError:
            return _missing(f"table {table.name}")
        kinds: dict[str, TypeEngine[object]] = {each["name"]: each["type"] for each in found}
        for column in table.columns:
            if column.key in _UNREAD:
                continue
            if column.name not in kinds:
                return _missing(f"column {column.name} in table {table.name}")
            if not _fits(kinds[column.name], column.type):
                what = "a whole number" if isinstance(column.type, Integer) else "text"
                return RegistryRefusedError(f"column {column.name} of the table {table.name} is not {what}")
    return None


def _fits(kind: TypeEngine[object], wanted: TypeEngine[object]) -> bool:
    """Keys and names must be what they are in the graph; of times and flags many databases have kinds of their own."""
    needed = next((each for each in (Integer, String) if isinstance(wanted, each)), None)
    return needed is None or isinstance(kind, (needed, NullType))


def _missing(what: str) -> RegistryRefusedError:
    return RegistryRefusedError(
        f"the registry has no {what}", hint="Name it in the mapping if it is called otherwise."
    )
