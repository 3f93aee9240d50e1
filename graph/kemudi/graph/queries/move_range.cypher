// The last statement of a batch of a range: hold_lease, and the range moves on from where the batch began, or nothing
// is written. All who write hold the lease's lock here, so nobody moves the range between the look and the step.
MATCH (l:SyncLease {name: 'sync'})
SET l.beat = l.beat + 1
WITH l
WHERE l.epoch = $epoch
MATCH (s:SyncCheckpoint {name: $name})
WHERE s.after_id = $from_id AND s.until_id = $until_id
SET s.after_id = $after_id
RETURN s.after_id AS after_id
