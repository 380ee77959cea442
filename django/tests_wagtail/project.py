"""The project of the tests: `wagtail start` makes it in a temporary folder, docs/wagtail.md has the settings that are
added, and it is migrated. Importing this module sets Django up."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import django
from django.core.management import call_command

from tests.processes import Memcached

ROOT = Path(__file__).resolve().parents[2]

MEMCACHED = Memcached().address

DOCUMENT = (ROOT / "docs/wagtail.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of the document in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)[0]


TESTS = """
INSTALLED_APPS += ["tests_wagtail.blog", "wagtail.contrib.frontend_cache", "wagtail.contrib.settings"]
WAGTAILFRONTENDCACHE = {"nginx": {"BACKEND": "pagecache.wagtail.backend.PageCacheBackend"}}
MIGRATION_MODULES = {"blog": "mysite.migrations"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

_folder = tempfile.TemporaryDirectory(prefix="pagecache-wagtail-")
atexit.register(_folder.cleanup)
START = "from wagtail.bin.wagtail import main; main()"
subprocess.run([sys.executable, "-c", START, "start", "mysite", _folder.name], check=True, stdout=subprocess.DEVNULL)

_settings = Path(_folder.name) / "mysite/settings/base.py"
_added = block("python").replace("127.0.0.1:11211", MEMCACHED) + TESTS
_settings.write_text(_settings.read_text(encoding="utf-8") + _added, encoding="utf-8")

sys.path.insert(0, _folder.name)
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings.dev"
django.setup()
call_command("makemigrations", "blog", verbosity=0)
call_command("migrate", verbosity=0)
