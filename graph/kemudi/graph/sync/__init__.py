"""The sync service: relational rows into the graph, in batches that a setting changes while they run."""
