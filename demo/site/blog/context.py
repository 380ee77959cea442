"""What the template of every page is given."""

from django.utils import timezone


def rendered_at(request):
    """The time at which Django made this page: on a page from the cache, it stands still."""
    return {"rendered_at": timezone.now()}
