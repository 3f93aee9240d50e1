// The classes that a student and the student's classmates take, each with everybody who takes it.
MATCH (:MahasiswaNode {nim: $nim})-[:MENGAMBIL]->(:KelasNode)<-[:MENGAMBIL]-(c:MahasiswaNode)
WITH DISTINCT c
MATCH (c)-[:MENGAMBIL]->(k:KelasNode)
WITH DISTINCT k
MATCH (k)<-[:MENGAMBIL]-(o:MahasiswaNode)
RETURN k.kode AS kode, collect(o.nim) AS takers
