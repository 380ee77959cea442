"""For pytest: the site is traced as it is by manage.py."""

import os

from opentelemetry.instrumentation.django import DjangoInstrumentor

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
DjangoInstrumentor().instrument()
