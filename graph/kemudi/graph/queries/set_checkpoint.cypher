// Move a run on.
MERGE (s:SyncCheckpoint {name: $name})
SET s.after_id = $after_id, s.until_id = $until_id, s.finished_at = $finished_at, s.watermark = $watermark
