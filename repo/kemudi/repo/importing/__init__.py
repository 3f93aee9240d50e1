"""Settings that live elsewhere, brought into a config repo: read, drafted as contracts and values, committed.

`read_*` of the source modules gives a `Gathered`; `drafting` holds it against a config repo and says what would
change; `commits` seals what is sensitive and puts one commit, or one for every row of a change log, on the branch.
"""
