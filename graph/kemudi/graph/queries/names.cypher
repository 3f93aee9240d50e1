// The names of some students.
UNWIND $nims AS nim
MATCH (m:MahasiswaNode {nim: nim})
RETURN m.nim AS nim, m.nama AS nama
