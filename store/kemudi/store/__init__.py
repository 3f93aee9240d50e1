"""The served values: signed snapshots in Redis, their wire form, and the keys that seal and sign them.

The only package that builds a Redis key or knows what the bytes behind one mean. Modules:

- `keys`, `acl`: the names in Redis, and the least rights that a reader and a writer need on them
- `snapshot`, `sealing`: a category as immutable bytes named by their digest, its secrets sealed inside
- `manifest`, `signing`: the signed pointer to the current snapshot
- `base`, `values`, `errors`: what a store does, the objects it speaks in, the ways it fails
- `redis`, `memory`: the two stores, held together by one contract test
"""
