"""Tests of what is pure in bench/: parsing, figures, bars, tables. They start no server:

    python3 -m unittest discover --top-level-directory . bench/tests
"""
