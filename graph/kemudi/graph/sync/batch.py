"""A batch as steps of one transaction: rows that are there, pairs that are gone, nodes that nobody needs any more.

Nodes are taken in one order by every batch, students by nim, then classes by kode, each by a statement that writes it
and so locks it; relationships come after. Two batches at once therefore wait for each other and cannot deadlock.
"""

from collections.abc import Collection, Iterable

from kemudi.graph.registry import Registry, Row
from kemudi.graph.stores.base import Step

BUMP: Step = ("bump_version", {})
"""Last but for the checkpoint in every writing transaction: all writers meet there."""


def steps_for(page: Collection[Row], registry: Registry) -> list[Step]:
    """The steps that bring the graph up to these rows; none for no rows.

    A pair of a deleted row stays while another live row holds it, as after a retake; the registry is asked.
    """
    if not page:
        return []
    live = {(row.nim, row.kode) for row in page if not row.deleted}
    flagged = {(row.nim, row.kode) for row in page if row.deleted} - live
    retaken = registry.live_pairs(sorted(flagged))
    return [*_nodes(page), *_pairs("merge_pairs", live | retaken), *_removal(flagged - retaken), BUMP]


def steps_to_repair(missing: Collection[Row], extra: Collection[tuple[str, str]]) -> list[Step]:
    """The steps that add the rows of `missing` and remove the pairs of `extra`; none when there are neither.

    The nodes of `extra` are not locked first, so nothing else may write meanwhile.
    """
    if not missing and not extra:
        return []
    live = {(row.nim, row.kode) for row in missing}
    return [*_nodes(missing), *_pairs("merge_pairs", live), *_removal(extra), BUMP]


def _nodes(rows: Collection[Row]) -> list[Step]:
    # Students and classes of deleted rows too: merging is what locks them in order. The removal takes them out again.
    students = dict(sorted((row.nim, row.nama) for row in rows))
    classes = dict(sorted((row.kode, row.kelas_nama) for row in rows))
    if not students:
        return []
    return [
        ("merge_students", {"rows": [{"nim": nim, "nama": nama} for nim, nama in students.items()]}),
        ("merge_classes", {"rows": [{"kode": kode, "nama": nama} for kode, nama in classes.items()]}),
    ]


def _pairs(query: str, pairs: Iterable[tuple[str, str]]) -> list[Step]:
    records = [{"nim": nim, "kode": kode} for nim, kode in sorted(pairs)]
    return [(query, {"pairs": records})] if records else []


def _removal(gone: Collection[tuple[str, str]]) -> list[Step]:
    if not gone:
        return []
    return [
        *_pairs("delete_pairs", gone),
        ("delete_idle_students_among", {"nims": sorted({nim for nim, _ in gone})}),
        ("delete_idle_classes_among", {"kodes": sorted({kode for _, kode in gone})}),
    ]
