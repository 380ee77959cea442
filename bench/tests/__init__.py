"""Tests of the pure functions in bench/: parsing, figures, bars, tables. They start no server:

    python3 -m unittest discover --top-level-directory . bench/tests
"""
