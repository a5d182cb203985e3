"""Which rows and files an effect or a reader means: days, filters, everything; and what straddles.

What becomes of them is `commits/` and `reads/`.
"""
