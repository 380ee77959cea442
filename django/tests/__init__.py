"""Tests of the package, against real memcached, and real nginx with the built module, which they start
themselves:

    scripts/build && cd django && python -m unittest
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "testkit" / "python"))
