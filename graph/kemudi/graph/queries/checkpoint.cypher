// How far a run is; written with the batch, so that it is never ahead of it.
MATCH (s:SyncCheckpoint {name: $name})
RETURN s.after_id AS after_id, s.until_id AS until_id, s.version AS version, s.finished_at AS finished_at, s.watermark AS watermark
