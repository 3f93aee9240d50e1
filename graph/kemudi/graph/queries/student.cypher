// One student by nim: no row means that the graph does not know the student.
MATCH (m:MahasiswaNode {nim: $nim})
RETURN m.nim AS nim, m.nama AS nama
