// The data version: part of every cache key, raised by whatever changes the graph.
MERGE (s:SyncCheckpoint {name: 'data'})
SET s.version = coalesce(s.version, 0) + 1
