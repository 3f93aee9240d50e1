"""django-constance: the settings that `CONSTANCE_CONFIG` declares, and the values of its table."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kemudi.repo.importing.database import Tables
from kemudi.repo.importing.django_settings import SettingsSource
from kemudi.repo.importing.found import Found, Gathered, Left
from kemudi.repo.importing.naming import category_of, is_wanted, key_of
from kemudi.repo.importing.typing_values import declared_kind
from kemudi.schema.documents import JSON
from kemudi.schema.errors import UsageError

TABLES: Final = ("constance_constance", "constance_config")

_ROW: Final = {"key": ("key", "constance_key"), "value": ("value",)}


def read_constance(path: Path, tables: Tables | None = None, only: tuple[str, ...] = ()) -> Gathered:
    """The settings of a project that uses django-constance.

    Args:
        path: Its settings file or folder; read, never run.
        tables: The database of the project; None: the declared defaults are the values.
        only: Patterns of keys.

    Raises UsageError when `CONSTANCE_CONFIG` is not there as a constant. Values that older versions pickled are left:
    to read them is to run what they hold.
    """
    file = path / "__init__.py" if path.is_dir() else path
    source = SettingsSource()
    source.read(file)
    declared = source.values.get("CONSTANCE_CONFIG")
    if not isinstance(declared, dict):
        raise UsageError(f"{file} gives no CONSTANCE_CONFIG that can be read without running it")
    groups = _groups(source.values.get("CONSTANCE_CONFIG_FIELDSETS"))
    stored, left = _stored(tables)
    settings = []
    for name, entry in declared.items():
        key = key_of(str(name))
        if key is None:
            left.append(Left(str(name), "it has no name that a setting could have"))
        elif is_wanted(key, only):
            settings.append(_setting(key, entry, stored.get(str(name)), groups.get(str(name)), file.name))
    left += [
        Left(name, "the table has it, CONSTANCE_CONFIG does not") for name in stored if name not in declared
    ]
    return Gathered("django-constance", tuple(settings), left=tuple(left))


def _setting(key: str, entry: Any, stored: JSON, category: str | None, place: str) -> Found:
    parts = list(entry) if isinstance(entry, list | tuple) else [entry]
    default, words, kind = (*parts, "", "")[:3] if len(parts) < 3 else parts[:3]
    return Found(
        key,
        default if stored is None else stored,
        kind=declared_kind(kind if isinstance(kind, str) else None),
        description=words if isinstance(words, str) else "",
        category=category,
        default=default,
        place=place,
    )


def _groups(fieldsets: Any) -> dict[str, str]:
    """Key → category, from `{"General": ("KEY", …)}` in any of the forms that constance takes."""
    pairs = (
        fieldsets.items() if isinstance(fieldsets, dict) else fieldsets if isinstance(fieldsets, list) else ()
    )
    found: dict[str, str] = {}
    for title, members in pairs:
        category = category_of(str(title))
        names = members.get("fields", ()) if isinstance(members, dict) else members
        if category is not None:
            found.update((str(name), category) for name in names)
    return found


def _stored(tables: Tables | None) -> tuple[dict[str, JSON], list[Left]]:
    if tables is None:
        return {}, []
    name = next((each for each in TABLES if each in tables.names()), None)
    if name is None:
        raise UsageError(f"the database has none of the tables {', '.join(TABLES)}")
    values: dict[str, JSON] = {}
    left: list[Left] = []
    for row in tables.rows(name, _ROW, ("key", "value")).rows:
        if row["value"] in (None, ""):
            continue
        try:
            values[row["key"]] = _decoded(json.loads(row["value"]))
        except (ValueError, TypeError):
            left.append(
                Left(row["key"], "its value is pickled; open it once with constance 4, then import again")
            )
    return values, left


def _decoded(value: Any) -> JSON:
    """What constance's JSON means: `{"__type__": "timedelta", "__value__": …}` and the like."""
    if not (isinstance(value, Mapping) and "__type__" in value and "__value__" in value):
        plain: JSON = value
        return plain
    inner: JSON = value["__value__"]
    if value["__type__"] == "decimal" and isinstance(inner, str):
        return float(inner)
    return inner
