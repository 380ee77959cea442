"""`manage.py serve PORT` serves the site; all else is Django's own."""

import os
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from opentelemetry.instrumentation.django import DjangoInstrumentor


class Silent(WSGIRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    DjangoInstrumentor().instrument()
    if sys.argv[1] == "serve":
        from django.core.wsgi import get_wsgi_application

        make_server("127.0.0.1", int(sys.argv[2]), get_wsgi_application(), handler_class=Silent).serve_forever()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
