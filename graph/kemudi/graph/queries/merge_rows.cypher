// One batch of live rows: both nodes and the relationship between them, made or found.
UNWIND $rows AS row
MERGE (m:MahasiswaNode {nim: row.nim})
SET m.nama = row.nama
MERGE (k:KelasNode {kode: row.kode})
SET k.nama = row.kelas_nama
MERGE (m)-[:MENGAMBIL]->(k)
