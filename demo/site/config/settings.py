"""Settings of the demo site. Values that depend on the start come from demo/run.py through the environment:
DEMO_DIR, DEMO_MEMCACHED, DEMO_ORIGINS, DEMO_SECRET_KEY."""

import os
from pathlib import Path

# The page cache, the subject of this site.

# demo/nginx.conf.in has the same values, as pagecache_key and pagecache_ignore_args: a page is stored under
# this key and looked up under that one.
PAGECACHE_KEY = "$scheme://$host$uri$pagecache_args"
PAGECACHE_IGNORE_ARGS = ["utm_*", "gclid", "fbclid"]
PAGECACHE_CACHE = "pages"
PAGECACHE_TIMEOUT = 300  # seconds

# Every page reads the session, to greet a visitor who is logged in, so Django adds "Vary: Cookie" to it. But
# the pages of visitors without a session are all alike, and requests with a session bypass the cache: see
# pagecache_bypass in nginx.conf.in.
PAGECACHE_IGNORE_VARY = ["Cookie"]

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "pages": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        # The servers of the upstream block in demo/nginx.conf.in.
        "LOCATION": os.environ["DEMO_MEMCACHED"].split(),
        "KEY_FUNCTION": "pagecache.key.raw_key",
        # pymemcache waits for ever by default, and writes to another server while one is down.
        "OPTIONS": {"connect_timeout": 0.5, "timeout": 0.5, "retry_attempts": 1_000_000, "retry_timeout": 0},
    },
}

MIDDLEWARE = [
    "pagecache.middleware.PageCacheMiddleware",  # first: it stores the page after all others have changed it
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]

# The rest is an ordinary small site.

DEBUG = False
SECRET_KEY = os.environ["DEMO_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
# Debian's uwsgi_params pass the host without its port; a browser sends its origin with the port.
CSRF_TRUSTED_ORIGINS = os.environ["DEMO_ORIGINS"].split()

INSTALLED_APPS = [
    "pagecache",
    "blog",
    "by_nginx",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
ROOT_URLCONF = "config.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "blog.context.rendered_at",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(os.environ["DEMO_DIR"], "site.sqlite3"),
        "ATOMIC_REQUESTS": True,
        "OPTIONS": {"timeout": 10},  # seconds that a second writer waits
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "articles"
USE_TZ = True
TIME_ZONE = "UTC"  # as the pages' footer says

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # At DEBUG, pagecache logs for each page why it is not stored.
    "loggers": {"pagecache": {"level": "DEBUG"}, "django": {"handlers": [], "level": "WARNING"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
