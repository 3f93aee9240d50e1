"""The contract of a setting: YAML documents, JSON Schemas, layers and what is wrong with them.

Needs no Redis, git or Neo4j: validating a config repo in CI takes this package alone.
"""
