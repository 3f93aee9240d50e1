// Those of some students who take no class any more, so that a batch leaves none of them behind.
MATCH (m:MahasiswaNode)
WHERE m.nim IN $nims AND NOT EXISTS { MATCH (m)-[:MENGAMBIL]->(:KelasNode) }
DELETE m
