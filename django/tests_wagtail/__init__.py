"""Tests of pagecache.wagtail in a project that `wagtail start` makes, with a real memcached:

    scripts/test    # installs tests/wagtail-8.0.txt at target/wagtail-8.0
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "testkit" / "python"))
