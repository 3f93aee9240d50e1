// The classes of a batch, made or found.
UNWIND $rows AS row
MERGE (k:KelasNode {kode: row.kode})
SET k.nama = row.nama
