"""Adds variables to the template of every page."""

from django.utils import timezone


def rendered_at(request):
    """The time at which Django rendered this page: on a page from the cache, it does not change."""
    return {"rendered_at": timezone.now()}
