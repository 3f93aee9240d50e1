// The students of a batch, made or found.
UNWIND $rows AS row
MERGE (m:MahasiswaNode {nim: row.nim})
SET m.nama = row.nama
