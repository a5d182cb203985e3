"""Merge: rows enter a table by key, in one snapshot, serializable for keys.

`merging.py` is the door. What is asked for is `rules.py`, the rows that arrive `source.py`, which files may hold their
keys `keys.py`, which rows do `found.py`. What becomes of them is a strategy's (`strategy.py`): `resolve.py` for rows
that replace others, `replace_keys.py` for rows that replace all of their key, `history.py` for versions of keys. Which
way rows leave a file is `choose.py`, how one is written anew `rewrite.py`, all files of a round `written.py`; the order
of that, again after another writer was faster, `run.py`.
"""
