"""Settings of a site that follows the README: the file of `django-admin startproject`, then the block of
django/README.md, unchanged except for addresses. The package `given` is the project, and README_SETTINGS names
the file with the block."""

import os
from pathlib import Path

from django.conf import global_settings

from given import settings as given
from given.settings import *  # noqa: F403

written = {}
exec(Path(os.environ["README_SETTINGS"]).read_text(), written)


def filled(value, default):
    """`...` stands for existing values: the rest of a list, or with `{...}` a whole value."""
    if value == {...}:
        return default
    if isinstance(value, dict):
        return {name: filled(item, (default or {}).get(name)) for name, item in value.items()}
    if isinstance(value, list) and ... in value:
        at = value.index(...)
        return [*value[:at], *default, *value[at + 1 :]]
    return value


for name, value in written.items():
    if name.isupper():
        globals()[name] = filled(value, getattr(given, name, getattr(global_settings, name, None)))

# The site itself.
ALLOWED_HOSTS = ["example.com", "www.example.com"]
ROOT_URLCONF = "readme_site"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # so that logging in takes no second
