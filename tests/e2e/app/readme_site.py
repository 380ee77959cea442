"""The site that follows the README. Each page shows the request for which it was rendered, as far as it depends
on it: the address always, and the cookies, the header, the user or the messages that it reads."""

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import condition
from django.views.decorators.vary import vary_on_cookie, vary_on_headers

EDITORS = ["ada", "bob"]

ADDRESS = """<title>{{ title }}</title>
host={{ request.get_host }}
path={{ request.path }}
query={{ request.META.QUERY_STRING }}
arguments={% for name, values in request.GET.lists %}{{ name }}:{{ values|join:"," }};{% endfor %}
link={{ request.build_absolute_uri }}
"""

PARTS = {
    "article": "",
    "list": "number={{ page.number }} of {{ page.paginator.num_pages }} for {{ term }}: {{ page.object_list|join:',' }}",
    "news": "{% for message in messages %}message={{ message }}\n{% endfor %}",
    "quiet": "{% if messages %}{% for message in messages %}message={{ message }}\n{% endfor %}{% endif %}",
    "contact": "<form method=post>{% csrf_token %}<input name=name></form>",
    "editors": "user={{ user.get_username }}{% if user.is_staff %} <a href=/admin/>edit this page</a>{% endif %}",
    "price": "currency={{ request.COOKIES.currency }}",
    "language": "language={{ accepted }}",
    "fragment": "{% if asks_for_a_part %}a part{% else %}the whole{% endif %}",
    "counted": "visits={{ visits }}",
    "dated": "with an ETag of its own",
    "never": "of now",
}


def page(request, name, status=200, **more):
    template = engines["django"].from_string(ADDRESS + PARTS[name])
    return HttpResponse(template.render({"title": name, **more}, request), status=status)


def article(request, slug=""):
    return page(request, "article")


def listing(request):
    term = request.GET.get("q", "")
    numbers = [number for number in range(100, 150) if term in str(number)]
    return page(request, "list", term=term, page=Paginator(numbers, 10).get_page(request.GET.get("page")))


def news(request):
    return page(request, "news")


def quiet(request):
    return page(request, "quiet")


def contact(request):
    if request.method == "POST":
        messages.success(request, "thanks to " + request.POST["name"])
        return redirect(request.POST["next"])
    return page(request, "contact")


def editors(request):
    return page(request, "editors")


@vary_on_cookie
def price(request):
    return page(request, "price")


def currency(request, code):
    response = redirect("/price/")
    response.set_cookie("currency", code)
    return response


@vary_on_headers("Accept-Language")
def language(request):
    return page(request, "language", accepted=request.headers["Accept-Language"])


@vary_on_headers("HX-Request")
def fragment(request):
    return page(request, "fragment", asks_for_a_part="HX-Request" in request.headers)


def counted(request):
    """A frequent mistake: a cookie decides what the page shows, and no Vary says so."""
    visits = int(request.COOKIES.get("visits", 0)) + 1
    response = page(request, "counted", visits=visits)
    response.set_cookie("visits", str(visits))
    return response


@condition(etag_func=lambda request: f'"{request.get_host()}{request.get_full_path()}"')
def dated(request):
    return page(request, "dated")


@never_cache
def never(request):
    return page(request, "never")


def data(request):
    return JsonResponse({"host": request.get_host(), "arguments": dict(request.GET.lists())})


def missing(request):
    return page(request, "article", status=404)


urlpatterns = [
    path("", article),
    path("article/<path:slug>", article),
    path("list/", listing),
    path("news/", news),
    path("quiet/", quiet),
    path("contact/", contact),
    path("editors/", editors),
    path("price/", price),
    path("currency/<code>/", currency),
    path("language/", language),
    path("fragment/", fragment),
    path("counted/", counted),
    path("dated/", dated),
    path("never/", never),
    path("data/", data),
    path("missing/", missing),
    path("admin/", admin.site.urls),
]


def prepare():
    """Creates the database and the editors, before the site is served: `python -c "import readme_site; ..."`."""
    from django.contrib.auth.models import User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for name in EDITORS:
        User.objects.create_superuser(name, password=name)
