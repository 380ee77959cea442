"""A site as others have them: traced, counted, in two languages, with static files and requests of other sites. The page
cache came last. What differs between two runs comes through the environment."""

import os

PAGECACHE_KEY = os.environ.get("SITE_KEY", "$scheme://$host$uri$pagecache_args")
PAGECACHE_IGNORE_VARY = os.environ.get("SITE_IGNORE_VARY", "").split()

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "pages": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": [os.environ["SITE_MEMCACHED"]],
        "KEY_FUNCTION": "pagecache.key.raw_key",
        "OPTIONS": {"connect_timeout": 0.5, "timeout": 0.5, "retry_attempts": 1_000_000, "retry_timeout": 0},
    },
}

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "pagecache.middleware.PageCacheMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

INSTALLED_APPS = [
    "pagecache",
    "django_prometheus",
    "corsheaders",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

ALLOWED_HOSTS = ["127.0.0.1"]
CORS_ALLOWED_ORIGINS = ["https://other.test"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SITE_DATABASE", ":memory:")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGES = [("en", "English"), ("de", "German")]
LANGUAGE_CODE = "en"
ROOT_URLCONF = "urls"
SECRET_KEY = "of the tests' whole site"
STATIC_URL = "/static/"
STATICFILES_DIRS = [os.path.join(os.path.dirname(__file__), "static")]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
WHITENOISE_USE_FINDERS = True
