"""The commit protocol: snapshots that carry progress and a run key, fenced at every attempt.

Moving refs is `refs/`.
"""
