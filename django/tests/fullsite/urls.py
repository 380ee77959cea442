"""Pages in two languages, and one in that of the browser."""

from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path
from django.utils.translation import get_language


def page(request):
    return HttpResponse(f"in {get_language()}")


urlpatterns = [
    *i18n_patterns(path("page/", page), prefix_default_language=False),
    path("", include("django_prometheus.urls")),
]
