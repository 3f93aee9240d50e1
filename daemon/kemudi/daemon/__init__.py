"""The daemon: it makes what Redis serves equal to what git says, and says so.

Parts, from the outside in: `service` composes and runs; `reconciler` decides when and for whom;
`environment` holds one environment; `steps` is the ordered list that every reconcile walks; `source` reads
git and the work tree; `http` answers questions. Nothing else writes served values.
"""
