"""The registry: keyset pages, live pairs, and a generator that gives the same data for the same seed."""

from itertools import pairwise

import pytest
from sqlalchemy import delete, insert, update

from kemudi.graph.generator import EPOCH, ensure_example, generate, sample_nim
from kemudi.graph.registry import (
    KELAS,
    MAHASISWA,
    METADATA,
    RIWAYAT_PENDIDIKAN,
    Registry,
    RegistryUnavailableError,
)
from kemudi.schema.errors import UsageError


@pytest.fixture
def dsn(tmp_path):
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def registry(dsn):
    opened = Registry(dsn)
    METADATA.create_all(opened.engine)
    yield opened
    opened.close()


def add(registry, *history):
    """History rows (id, nim, kode, deleted) with the students and classes that they name."""
    with registry.engine.begin() as connection:
        connection.execute(
            insert(MAHASISWA), [{"nim": nim, "nama": nim} for nim in sorted({row[1] for row in history})]
        )
        connection.execute(
            insert(KELAS), [{"kode": kode, "nama": kode} for kode in sorted({row[2] for row in history})]
        )
        connection.execute(
            insert(RIWAYAT_PENDIDIKAN),
            [
                {"id": key, "nim": nim, "kode": kode, "semester": 1, "deleted": deleted, "updated_at": EPOCH}
                for key, nim, kode, deleted in history
            ],
        )


def test_pages_cover_every_row_once_in_order(registry):
    """Whatever the page size, the pages joined are all rows, deleted ones included, by id."""
    add(registry, *((key, f"n{key % 3}", f"k{key % 5}", key % 4 == 0) for key in range(1, 24)))
    for size in (1, 4, 100):
        seen, after = [], 0
        while page := registry.page(after, size):
            seen += [row.id for row in page]
            after = page[-1].id
        assert seen == list(range(1, 24))
    assert [row.id for row in registry.page(3, 100, until_id=6)] == [4, 5, 6]


def test_ranges_cover_all_keys_without_overlap(registry):
    """Each key lies in exactly one range, also when keys have gaps."""
    add(registry, *((key, "n", "k", False) for key in (2, 3, 50, 51, 52, 900)))
    for parts in (1, 2, 3, 6, 20):
        ranges = registry.ranges(parts)
        assert ranges[0][0] == 1  # the smallest key is the first of the first
        assert ranges[-1][1] == 900
        assert all(left[1] == right[0] for left, right in pairwise(ranges))
    assert sum(len(registry.page(after, 100, until)) for after, until in registry.ranges(3)) == 6


def test_a_pair_lives_while_one_live_row_holds_it(registry):
    """A retake keeps the pair when the first row is flagged; edges are distinct and ordered."""
    add(registry, (1, "a", "x", True), (2, "a", "x", False), (3, "a", "y", True), (4, "b", "x", False))
    assert registry.edges() == [("a", "x"), ("b", "x")]
    assert registry.edges(after="a") == [("b", "x")]
    assert registry.edges(until="a") == [("a", "x")]
    assert registry.students_until("", 1) == "b"
    assert registry.students_until("a", 1) is None
    assert registry.live_pairs([("a", "x"), ("a", "y"), ("b", "y")]) == {("a", "x")}
    assert registry.totals().live == 2


def test_the_totals_move_with_every_kind_of_change(registry):
    """Adding, flagging and removing a row each change it; reading does not."""
    add(registry, (1, "a", "x", False), (2, "a", "y", False))
    seen = [registry.totals()]
    assert registry.totals() == seen[0]
    with registry.engine.begin() as connection:
        connection.execute(
            update(RIWAYAT_PENDIDIKAN).values(deleted=True, updated_at=EPOCH.replace(year=2026))
        )
    seen.append(registry.totals())
    with registry.engine.begin() as connection:
        connection.execute(delete(RIWAYAT_PENDIDIKAN).where(RIWAYAT_PENDIDIKAN.c.id == 1))
    seen.append(registry.totals())
    assert len(set(seen)) == 3


def test_the_same_seed_gives_the_same_registry(tmp_path):
    """Two registries of one seed are equal row for row; another seed differs."""
    found = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        dsn = f"sqlite:///{tmp_path / name}.db"
        generate(dsn, 2_000, seed)
        registry = Registry(dsn)
        found.append(registry.page(0, 10_000))
        registry.close()
    assert len(found[0]) == 2_000
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_generated_registry_has_the_shapes_that_the_services_must_cope_with(dsn):
    """Popular classes, retakes, deleted rows, and a student with more than ten classmates."""
    generate(dsn, 8_000)
    registry = Registry(dsn)
    rows = registry.page(0, 10_000)
    registry.close()
    per_class: dict[str, int] = {}
    for row in rows:
        per_class[row.kode] = per_class.get(row.kode, 0) + 1
    assert max(per_class.values()) > 2 * min(per_class.values())
    assert 0.01 < sum(row.deleted for row in rows) / len(rows) < 0.06
    assert len({(row.nim, row.kode) for row in rows}) < len(rows)
    assert sample_nim(dsn) is not None


def test_the_example_is_made_once(dsn):
    """A second call keeps what is there, and generating over rows is refused."""
    first = ensure_example(dsn, rows=500)
    assert ensure_example(dsn, rows=500) == first
    with pytest.raises(UsageError, match="already has rows"):
        generate(dsn, 10)


def test_a_registry_that_cannot_be_read_is_named_without_its_password(tmp_path):
    """The error says what to check and repeats nothing of the address."""
    registry = Registry(f"sqlite:///{tmp_path / 'missing' / 'secret-name.db'}")
    with pytest.raises(RegistryUnavailableError) as failure:
        registry.totals()
    registry.close()
    assert "secret-name" not in str(failure.value)
    with pytest.raises(UsageError) as refused:
        Registry("nosuch://user:hunter2@host/name")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "names",
    [
        {"mahasiswa": {"table": 'x"; DROP TABLE mahasiswa; --'}},
        {"mahasiswa": {"nama": "nama) FROM kelas --"}},
        {"kelas": {"schema": "a.b"}},
        {"kelas": {"label": "KelasNode"}},
        {"MahasiswaNode`) DETACH DELETE n //": {"table": "x"}},
        {"kelas": {"table": ""}},
        {"kelas": {1: "x"}},
        {1: {}},
        {"kelas": ["kode"]},
        ["kelas"],
    ],
)
def test_a_mapping_takes_names_and_nothing_else(dsn, names):
    """Text that could end a statement, a label, and an unknown part are refused before anything is asked."""
    with pytest.raises(UsageError):
        Registry(dsn, names)
