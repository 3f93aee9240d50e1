"""Settings in a table of a database, and the log of their changes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kemudi.repo.importing.database import Rows, Tables, moment, truth
from kemudi.repo.importing.found import Found, Gathered, Left, LogRow
from kemudi.repo.importing.naming import category_of, is_wanted, key_of, one_line
from kemudi.repo.importing.typing_values import declared_kind
from kemudi.repo.people import Author
from kemudi.schema.errors import UsageError

NOBODY: Final = "unknown"

_SETTING: Final[Mapping[str, Sequence[str]]] = {
    "id": ("id",),
    "key": ("key", "config_key", "name"),
    "value": ("value", "config_value"),
    "data_type": ("data_type", "value_type", "type"),
    "category": ("category", "group", "section"),
    "default_value": ("default_value", "default"),
    "description": ("description", "help_text", "comment"),
    "is_active": ("is_active", "active", "enabled"),
    "is_sensitive": ("is_sensitive", "sensitive", "is_secret"),
    "requires_restart": ("requires_restart", "restart_required"),
}
_CHANGE: Final[Mapping[str, Sequence[str]]] = {
    "id": ("id", "pk"),
    "key": ("key", "config_key", "setting_key"),
    "config": ("config_id", "setting_id", "dynamic_config_id", "dynamicconfig_id"),
    "old": ("old_value", "previous_value", "old"),
    "new": ("new_value", "value", "new"),
    "by": ("changed_by", "changed_by_id", "user_id", "user", "updated_by", "updated_by_id", "author"),
    "at": ("changed_at", "created_at", "timestamp", "updated_at", "at"),
    "reason": ("reason", "change_reason", "comment", "note", "message"),
}
_PEOPLE: Final[Mapping[str, Sequence[str]]] = {
    "id": ("id",),
    "name": ("username", "name", "login"),
    "first": ("first_name",),
    "last": ("last_name",),
    "email": ("email",),
}


def read_dynamic_config(
    tables: Tables,
    table: str | None = None,
    log_table: str | None = None,
    people_table: str | None = None,
    only: tuple[str, ...] = (),
) -> Gathered:
    """Read the table of settings and, where there is one, the table of its changes.

    Args:
        tables: The database.
        table: The settings; None: the only table with columns for key, value and data type.
        log_table: Their changes; None: the only table with columns for an old and a new value.
        people_table: Whom the log means by a number; None: `auth_user`, if it is there.
        only: Patterns of keys.

    Raises UsageError when a table cannot be found or lacks a column, UnavailableError.
    """
    groups = [_SETTING["key"], _SETTING["value"], _SETTING["data_type"]]
    name = table or tables.find(groups)
    if name is None:
        raise UsageError(
            "no table, or more than one, has columns for key, value and data_type",
            hint=f"Name it with --table; there are: {', '.join(tables.names()[:40])}",
        )
    rows = tables.rows(name, _SETTING, ("key", "value"))
    settings, left = _settings(rows, only)
    log_name = log_table or tables.find([_CHANGE["old"], _CHANGE["new"], _CHANGE["at"]])
    log: tuple[LogRow, ...] = ()
    if log_name is not None:
        log, lost = _log(tables, log_name, rows, people_table, only)
        left += lost
    return Gathered(f"table {name}", tuple(settings), log, tuple(left))


def _settings(rows: Rows, only: tuple[str, ...]) -> tuple[list[Found], list[Left]]:
    settings: dict[str, Found] = {}
    left: list[Left] = []
    for row in rows.rows:
        key = key_of(str(row["key"]))
        if key is None:
            left.append(Left(one_line(str(row["key"])), "it has no name that a setting could have"))
        elif key in settings:
            left.append(Left(key, f"the table {rows.table} has it more than once"))
        elif is_wanted(key, only):
            settings[key] = _setting(key, row, rows.table)
    return list(settings.values()), left


def _setting(key: str, row: Mapping[str, Any], table: str) -> Found:
    active = truth(row["is_active"], otherwise=True)
    return Found(
        key,
        _text(row["value"]) if active else None,
        is_text=True,
        kind=declared_kind(row["data_type"]) or ("string" if row["data_type"] else None),
        description=str(row["description"] or ""),
        category=category_of(str(row["category"])) if row["category"] else None,
        default=_text(row["default_value"])
        if row["default_value"] not in (None, "")
        else _text(row["value"]),
        sensitive=truth(row["is_sensitive"], otherwise=False),
        requires_restart=truth(row["requires_restart"], otherwise=False),
        place=f"table {table}",
    )


def _log(
    tables: Tables, name: str, settings: Rows, people_table: str | None, only: tuple[str, ...]
) -> tuple[tuple[LogRow, ...], list[Left]]:
    rows = tables.rows(name, _CHANGE, ("old", "new", "at"))
    if "key" not in rows.columns and "config" not in rows.columns:
        raise UsageError(f"the table {name} does not say which setting a change is about")
    people = _people(tables, people_table)
    keys = {str(row["id"]): str(row["key"]) for row in settings.rows}
    found: list[tuple[LogRow, int]] = []
    left: list[Left] = []
    for number, row in enumerate(rows.rows):
        at = moment(row["at"])
        written = row["key"] if row["key"] is not None else keys.get(str(row["config"]))
        key = key_of(str(written)) if written is not None else None
        if at is None or key is None:
            left.append(
                Left(f"{name} row {row['id']}", "it has no time" if at is None else "its setting is gone")
            )
        elif is_wanted(key, only):
            identity = f"{name}/{row['id'] if row['id'] is not None else at.isoformat()}"
            reason = str(row["reason"] or "").strip()
            who = _author(row["by"], people)
            change = LogRow(identity, key, _text(row["old"]), _text(row["new"]), at, who, reason)
            found.append((change, number))
    found.sort(key=lambda each: (each[0].at, each[1]))
    return tuple(change for change, _ in found), left


def _people(tables: Tables, table: str | None) -> dict[str, Author]:
    name = table or ("auth_user" if "auth_user" in tables.names() else None)
    if name is None:
        return {}
    found = {}
    for row in tables.rows(name, _PEOPLE, ("id",)).rows:
        full = f"{row['first'] or ''} {row['last'] or ''}".strip()
        found[str(row["id"])] = _person(full or str(row["name"] or row["id"]), row["email"])
    return found


def _author(value: object, people: Mapping[str, Author]) -> Author:
    text = "" if value is None else str(value).strip()
    if text in people:
        return people[text]
    by_name = [each for each in people.values() if text and text in (each.name, each.email)]
    return by_name[0] if by_name else _person(text or NOBODY, None)


def _person(name: str, email: object) -> Author:
    """`name <address>` as git can write it; the part before the @ where there is no other name."""
    bare = one_line(name).replace("<", "").replace(">", "").strip() or NOBODY
    address = one_line(str(email or "")).replace("<", "").replace(">", "").replace(" ", "")
    if not address:
        address = bare if "@" in bare and " " not in bare else f"{bare.lower().replace(' ', '.')}@localhost"
    return Author(bare, address)


def _text(value: object) -> str | None:
    import json

    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return str(value)
