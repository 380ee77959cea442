"""Tests of the package, against real memcached, and real nginx with the built module, which they start
themselves:

    scripts/build && cd django && python -m unittest
"""
