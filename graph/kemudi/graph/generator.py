"""A registry of any size, the same for the same seed, shaped like a university's.

Cohorts enter year by year; a student takes classes of the own programme mostly, and popular ones more often (a class's
weight falls with its rank as in Zipf's law); some are retaken; some rows are flagged as deleted. Names are Indonesian.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import Any, Final

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import DBAPIError

from kemudi.graph.registry import (
    KELAS,
    MAHASISWA,
    METADATA,
    RIWAYAT_PENDIDIKAN,
    Registry,
    RegistryUnavailableError,
)
from kemudi.schema.errors import UsageError

EXAMPLE_ROWS: Final = 5_000
EXAMPLE_SEED: Final = 42

ROWS_A_STUDENT: Final = 8
ROWS_A_CLASS: Final = 40
RETAKEN: Final = 0.06
DELETED: Final = 0.03
OWN_PROGRAMME: Final = 0.8
NAME_POOL: Final = 500
CHUNK: Final = 5_000
FIRST_YEAR: Final = 2019
COHORTS: Final = 6
EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)

PROGRAMMES: Final = (
    (
        "IF",
        ("Algoritma", "Basis Data", "Jaringan Komputer", "Kecerdasan Buatan", "Sistem Operasi", "Grafika"),
    ),
    (
        "SI",
        (
            "Analisis Sistem",
            "Manajemen Proyek",
            "Tata Kelola",
            "Audit Sistem",
            "Gudang Data",
            "Proses Bisnis",
        ),
    ),
    ("TE", ("Rangkaian", "Elektronika", "Sinyal", "Kendali", "Mikroprosesor", "Telekomunikasi")),
    ("MA", ("Kalkulus", "Aljabar", "Statistika", "Analisis Real", "Topologi", "Persamaan Diferensial")),
    ("EK", ("Akuntansi", "Ekonomi Mikro", "Ekonomi Makro", "Pemasaran", "Keuangan", "Perpajakan")),
)


def generate(dsn: str, rows: int, seed: int = EXAMPLE_SEED) -> None:
    """Create the tables and fill them with `rows` history rows. Deterministic: same rows and seed, same data.

    Raises UsageError when the registry already has rows or `rows` is below 1, RegistryUnavailableError when it
    cannot be written.
    """
    if rows < 1:
        raise UsageError("a registry has at least one row")
    registry = Registry(dsn)
    try:
        METADATA.create_all(registry.engine)
        if registry.totals().rows:
            raise UsageError("the registry already has rows; name an empty one")
        _fill(registry.engine, rows, random.Random(seed), _names(seed))  # noqa: S311  # data, not secrets
    except DBAPIError as error:
        raise RegistryUnavailableError(
            f"the registry cannot be written ({type(error.orig).__name__})"
        ) from error
    finally:
        registry.close()


def ensure_example(dsn: str, rows: int = EXAMPLE_ROWS) -> str:
    """Generate the example registry unless there is one. Returns a line that says what is there."""
    registry = Registry(dsn)
    try:
        METADATA.create_all(registry.engine)
        if not registry.totals().rows:
            generate(dsn, rows)
        with registry.engine.connect() as connection:
            students = connection.scalar(select(func.count()).select_from(MAHASISWA))
        return f"{students} students, {registry.totals().live} rows"
    finally:
        registry.close()


def sample_nim(dsn: str, more_than: int = 10) -> str | None:
    """The first student, by nim, with more than `more_than` classmates; None when there is none among the first 200."""
    registry = Registry(dsn)
    mine, theirs = RIWAYAT_PENDIDIKAN.alias(), RIWAYAT_PENDIDIKAN.alias()
    first = select(MAHASISWA.c.nim).order_by(MAHASISWA.c.nim).limit(200).subquery()
    query = (
        select(mine.c.nim)
        .join(theirs, (theirs.c.kode == mine.c.kode) & (theirs.c.nim != mine.c.nim))
        .where(~mine.c.deleted, ~theirs.c.deleted, mine.c.nim.in_(select(first.c.nim)))
        .group_by(mine.c.nim)
        .having(func.count(theirs.c.nim.distinct()) > more_than)
        .order_by(mine.c.nim)
        .limit(1)
    )
    try:
        with registry.engine.connect() as connection:
            return connection.scalar(query)
    except DBAPIError as error:
        raise RegistryUnavailableError(
            f"the registry cannot be read ({type(error.orig).__name__})"
        ) from error
    finally:
        registry.close()


def _names(seed: int) -> list[str]:
    # Imported here: only who generates a registry needs it, and it is an extra. A pool, since a name costs some 30 µs
    # and a large registry needs a hundred thousand of them.
    from faker import Faker

    faker = Faker("id_ID")
    faker.seed_instance(seed)
    return [f"{faker.first_name()} {faker.last_name()}" for _ in range(NAME_POOL)]


def _fill(engine: Engine, rows: int, rng: random.Random, names: list[str]) -> None:
    students = max(2, rows // ROWS_A_STUDENT)
    classes = max(len(PROGRAMMES) * 2, rows // ROWS_A_CLASS)
    with engine.begin() as connection:
        for table, records in (  # each is used up before the next begins, and so draws its own random numbers
            (MAHASISWA, _students(students, rng, names)),
            (KELAS, _classes(classes)),
            (RIWAYAT_PENDIDIKAN, _history(rows, students, classes, rng)),
        ):
            while chunk := list(islice(records, CHUNK)):
                connection.execute(insert(table), chunk)


def _students(count: int, rng: random.Random, names: list[str]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"nim": _nim(number, count), "nama": rng.choice(names)}


def _nim(number: int, count: int) -> str:
    year = FIRST_YEAR + number * COHORTS // count
    return f"{year % 100:02}{number % len(PROGRAMMES) + 1}{number + 1:07}"


def _classes(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        subjects = PROGRAMMES[number % len(PROGRAMMES)][1]
        turn = number // len(PROGRAMMES)
        subject = subjects[turn % len(subjects)]
        kode = _kode(number % len(PROGRAMMES), turn)
        yield {"kode": kode, "nama": f"{subject} {turn // len(subjects) + 1}"}


def _kode(programme: int, turn: int) -> str:
    return f"{PROGRAMMES[programme][0]}{turn + 101}"


def _history(rows: int, students: int, classes: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Rows in the order of their id; each student's stand together, as they are entered term by term."""
    turns = [range(len(range(index, classes, len(PROGRAMMES)))) for index in range(len(PROGRAMMES))]
    weights = [list(accumulate(1 / (rank + 3) ** 0.8 for rank in each)) for each in turns]
    made = 0
    while made < rows:
        for index in range(students):
            nim = _nim(index, students)
            taken: list[str] = []
            share = rows // students + (index < rows % students)
            for term in range(min(share, rows - made)):
                own = rng.random() < OWN_PROGRAMME
                programme = index % len(PROGRAMMES) if own else rng.randrange(len(PROGRAMMES))
                kode = (
                    rng.choice(taken)
                    if taken and rng.random() < RETAKEN
                    else _kode(programme, rng.choices(turns[programme], cum_weights=weights[programme])[0])
                )
                taken.append(kode)
                made += 1
                yield {
                    "id": made,
                    "nim": nim,
                    "kode": kode,
                    "semester": term // 5 + 1,
                    "deleted": rng.random() < DELETED,
                    "updated_at": EPOCH + timedelta(seconds=made),
                }
            if made >= rows:
                return
