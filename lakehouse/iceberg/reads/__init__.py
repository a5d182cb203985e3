"""Rows, figures and changes of one table. SQL over several is `duck.py`."""
