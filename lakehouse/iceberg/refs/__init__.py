"""Branches, tags, leases, and main itself: made, published, re-based, restored, each by compare-and-swap.

What is written to a ref is `commits/`.
"""
