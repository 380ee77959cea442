"""When the pages of Wagtail are purged. Drafts are never shown to visitors, and purge nothing.

| change | hard | stale |
|---|---|---|
| published, or saved while live | | the page, those above it, its translations |
| unpublished, deleted | the page and those below it | those above it |
| slug, move | the page and those below it | those above it, before and after |
| a view restriction | the page and those below it | those above it |
| an image, a document, a snippet | | the pages that show it, and those above them |
| a site, a setting | | all pages |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from wagtail.documents import get_document_model
from wagtail.images import get_image_model
from wagtail.models import Page, PageViewRestriction, Site
from wagtail.signals import page_published, page_slug_changed, post_page_move
from wagtail.signals import unpublished as object_unpublished
from wagtail.snippets.models import get_snippet_models

from pagecache.purges.by import invalidate_all, invalidate_object
from pagecache.wagtail.purge import invalidate_pages, move_tree, withdraw_tree
from pagecache.wagtail.references import pages_that_show

logger = logging.getLogger("pagecache")

UNSEEN = {
    "approved_go_live_at",
    "draft_title",
    "file_hash",
    "file_size",
    "has_unpublished_changes",
    "latest_revision",
    "latest_revision_created_at",
    "locked",
    "locked_at",
    "locked_by",
}
"""Fields that no visitor sees. `save_revision` saves those of drafts alone, and an image its hash when it is first shown."""


def connect() -> None:
    for signal, of_pages in (
        (page_published, published),
        (page_slug_changed, slug_changed),
        (post_page_move, moved),
    ):
        signal.connect(_without_errors(of_pages), weak=False)
    object_unpublished.connect(_without_errors(hidden), weak=False)
    pre_save.connect(_without_errors(unpublished), weak=False)
    post_save.connect(_without_errors(saved), weak=False)
    pre_delete.connect(_without_errors(deleted), weak=False)
    for signal in (post_save, post_delete):
        signal.connect(_without_errors(restricted), sender=PageViewRestriction, weak=False)
        signal.connect(_without_errors(site_changed), sender=Site, weak=False)
        for model in _settings():
            signal.connect(_without_errors(setting_changed), sender=model, weak=False)


def published(instance: Page, **_: Any) -> None:
    invalidate_pages(instance, *_translations(instance))


def slug_changed(instance: Page, instance_before: Page, **_: Any) -> None:
    move_tree(instance, instance_before.url_path, instance.url_path)
    invalidate_pages(instance)


def moved(
    instance: Page, parent_page_before: Page, parent_page_after: Page, url_path_before: str, url_path_after: str, **_: Any
) -> None:
    if url_path_before != url_path_after:  # not only in another place of the same list
        move_tree(instance, url_path_before, url_path_after)
    parents = (page for page in (parent_page_before, parent_page_after) if not page.is_root())
    invalidate_pages(instance, *parents)


def restricted(instance: PageViewRestriction, raw: bool = False, **_: Any) -> None:
    if not raw:
        withdraw_tree(instance.page)


def unpublished(instance: Model, raw: bool = False, **_: Any) -> None:
    """By an editor or a script. This is before it is saved, in the transaction of `Page.save`."""
    if not raw and isinstance(instance, Page) and not instance.live and not instance._state.adding:
        if Page.objects.filter(pk=instance.pk, live=True).exists():
            withdraw_tree(instance)


def saved(instance: Model, raw: bool = False, update_fields: Iterable[str] | None = None, **_: Any) -> None:
    if raw or not getattr(instance, "live", True) or (update_fields is not None and UNSEEN.issuperset(update_fields)):
        return
    if isinstance(instance, Page):
        invalidate_pages(instance)
    elif isinstance(instance, _shown()):
        shown_elsewhere(instance)


def deleted(instance: Model, **_: Any) -> None:
    """Before it is deleted, while its references are known."""
    if isinstance(instance, Page):
        withdraw_tree(instance)
    elif isinstance(instance, _shown()):
        shown_elsewhere(instance)


def hidden(instance: Model, **_: Any) -> None:
    """A snippet with drafts is no longer published."""
    if not isinstance(instance, Page):
        shown_elsewhere(instance)


def shown_elsewhere(instance: Model) -> None:
    invalidate_pages(*pages_that_show(instance))
    invalidate_object(instance)


def site_changed(raw: bool = False, **_: Any) -> None:
    """A new one takes its hostname from the default site."""
    if not raw:
        invalidate_all()


def setting_changed(created: bool = False, raw: bool = False, **_: Any) -> None:
    """Any page may show it. A new one has the values that were shown without it."""
    if not raw and not created:
        invalidate_all()


def _shown() -> tuple[type[Model], ...]:
    return (get_image_model(), get_document_model(), *get_snippet_models())


def _settings() -> list[type[Model]]:
    if not apps.is_installed("wagtail.contrib.settings"):
        return []
    from wagtail.contrib.settings.models import AbstractSetting

    return [model for model in apps.get_models() if issubclass(model, AbstractSetting)]


def _translations(page: Page) -> list[Page]:
    """They may link to it."""
    return list(page.get_translations().filter(live=True))


def _without_errors(purge: Callable[..., None]) -> Callable[..., None]:
    """A change must not fail because of a page."""

    def receive(instance: Any, **said: Any) -> None:
        try:
            purge(instance=instance, **said)
        except Exception as error:
            text = "The pages of %r are not purged: %s: %s"
            logger.warning(text, type(instance), type(error).__name__, error)

    return receive
