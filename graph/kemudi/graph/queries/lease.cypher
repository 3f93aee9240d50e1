// Who runs the sync, and whether it lives: its beat moves.
MATCH (l:SyncLease {name: 'sync'})
RETURN l.epoch AS epoch, l.beat AS beat, l.holder AS holder, l.since AS since
