"""The config repository as code: git objects, the work tree, a mirror, sealed values, edits.

Imports nothing of ours but `kemudi.schema`. The daemon reads through it, the command line and the console write
through it. Only `porcelain` imports GitPython; everything else reads git's formats in process or asks git through
the one runner in `git`.
"""
