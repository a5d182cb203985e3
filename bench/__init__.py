"""Benchmarks: each is `python -m bench.<name> [sizes] [--json FILE]`, with a peer measured beside it.

Tests never assert on time; what is measured here goes into `bench/README.md`.
"""
