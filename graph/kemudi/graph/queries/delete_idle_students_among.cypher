// Those of some students who take no class any more, so that a batch leaves none of them behind.
UNWIND $nims AS nim
MATCH (m:MahasiswaNode {nim: nim})
WHERE NOT EXISTS { MATCH (m)-[:MENGAMBIL]->(:KelasNode) }
DELETE m
