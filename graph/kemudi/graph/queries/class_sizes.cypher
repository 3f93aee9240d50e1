// How many students take each of some classes; each found by its key, and counted without looking at the students.
UNWIND $kodes AS kode
MATCH (k:KelasNode {kode: kode})
RETURN kode, COUNT { MATCH (k)<-[:MENGAMBIL]-() } AS size
