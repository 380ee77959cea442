"""The page cache in Django's admin: an action in the list of objects, and a button on the page of one.

    class ArticleAdmin(PurgeMixin, admin.ModelAdmin): ...
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy

from pagecache.purges.batch import Outcome
from pagecache.purges.by import invalidate_object

logger = logging.getLogger("pagecache")


class PurgeMixin(admin.ModelAdmin):  # type: ignore[type-arg]
    """For a ModelAdmin: purges the pages that show an object, as `invalidate_object` does. Those may do it who may
    change the object."""

    change_form_template = "admin/pagecache/change_form.html"

    actions = ("purge_from_the_page_cache",)

    purge_where: dict[str, Any] = {}
    """What the key has and `get_absolute_url` does not contain, such as {"scheme": "https", "host": "example.com"}."""

    @admin.action(description=gettext_lazy("Purge from the page cache"), permissions=["change"])
    def purge_from_the_page_cache(self, request: HttpRequest, queryset: Any) -> None:
        self._purge(request, queryset)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.purge_view)
        return [path("<path:object_id>/purge/", view, name=self._name()), *super().get_urls()]

    def purge_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Purges one object's pages, and returns to its form."""
        obj = self.get_object(request, unquote(object_id))
        if request.method != "POST" or not self.has_change_permission(request, obj):
            raise PermissionDenied
        if obj is None:
            raise Http404
        self._purge(request, [obj])
        names = self.opts.app_label, self.opts.model_name
        form = reverse("admin:%s_%s_change" % names, args=[object_id], current_app=self.admin_site.name)
        return HttpResponseRedirect(form)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> HttpResponse:
        obj = options.get("obj")
        if obj is not None and self.has_change_permission(request, obj):
            name = f"admin:{self._name()}"
            context["pagecache_purge_url"] = reverse(name, args=[obj.pk], current_app=self.admin_site.name)
        return super().render_change_form(request, context, *args, **options)

    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_purge"

    def _purge(self, request: HttpRequest, objects: Any) -> None:
        purged, not_reached = 0, dict[str, str]()
        for obj in objects:
            try:
                outcome: Outcome = invalidate_object(obj, **self.purge_where)
            except Exception as error:  # NoKey, or an error of the site's own code
                logger.warning("The pages of %r are not purged: %s: %s", type(obj), type(error).__name__, error)
                self.message_user(request, f"{obj}: {error}", messages.ERROR)
                continue
            purged += 1
            not_reached.update(outcome.not_reached)
        for server, reason in not_reached.items():
            self.message_user(request, f"{server}: {reason}", messages.ERROR)
        if purged and not not_reached:
            self.message_user(request, gettext_lazy("Purged from the page cache: %d") % purged, messages.SUCCESS)
