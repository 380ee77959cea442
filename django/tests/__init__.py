"""Tests of the package, against a real memcached that they start themselves:

    cd django && python -m unittest
"""
