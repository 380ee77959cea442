"""The URLs of a page. A page that is below the roots of several sites has one in each of them."""

from __future__ import annotations

from contextlib import nullcontext

from django.conf import settings
from django.urls import NoReverseMatch, reverse
from django.utils import translation
from wagtail.coreutils import WAGTAIL_APPEND_SLASH
from wagtail.models import Page, Site


def urls_at(url_path: str) -> list[str]:
    """The URLs, without the arguments, of the page that has or had this `url_path`."""
    urls = []
    for root in Site.get_site_root_paths():
        if url_path.startswith(root.root_path):
            with translation.override(root.language_code) if _is_in_languages() else nullcontext():
                try:
                    path = reverse("wagtail_serve", args=(url_path[len(root.root_path) :],))
                except NoReverseMatch:  # a site that serves its pages by an API only
                    continue
            urls.append(root.root_url + (path if WAGTAIL_APPEND_SLASH or path == "/" else path.rstrip("/")))
    return list(dict.fromkeys(urls))


def urls_of(page: Page) -> list[str]:
    """With those of a model's own `get_url_parts` and `get_cached_paths`."""
    specific = page.specific_deferred
    own = specific.get_full_url()
    bases = dict.fromkeys([*urls_at(page.url_path), *([own] if own else [])])
    paths = specific.get_cached_paths()
    return list(dict.fromkeys(base if path == "/" else base.rstrip("/") + path for base in bases for path in paths))


def _is_in_languages() -> bool:
    return bool(getattr(settings, "WAGTAIL_I18N_ENABLED", False))
