"""The site's pages. Nothing here refers to nginx or memcached: the middleware stores the pages that may be
stored, and a view that changes an article drops its pages."""

import hashlib

from django.db.models import Count
from django.shortcuts import get_object_or_404, redirect, render

from blog.forms import CommentForm, UploadForm
from blog.models import Article
from blog.pages import drop_pages_with, list_pages
from pagecache.middleware import page_cache


def articles(request):
    pages = list_pages()
    pages.object_list = pages.object_list.annotate(comment_count=Count("comments"))
    return render(request, "blog/articles.html", {"page": pages.get_page(request.GET.get("page"))})


def article(request, slug):
    return render(request, "blog/article.html", {"article": get_object_or_404(Article, slug=slug)})


def comment(request, slug):
    """The form has a page of its own: its CSRF token belongs to one visitor, so a page that contains the form
    can never be stored, while the article's page should be."""
    article = get_object_or_404(Article, slug=slug)
    form = CommentForm(request.POST or None)
    if form.is_valid():
        form.instance.article = article
        form.save()
        drop_pages_with(article)
        return redirect(article)
    return render(request, "blog/comment.html", {"article": article, "form": form})


@page_cache(timeout=3600)  # it never changes
def big(request):
    """A page of several hundred KB."""
    rows = [(number, number**2, number**3, hashlib.sha256(b"%d" % number).hexdigest()) for number in range(4000)]
    return render(request, "blog/big.html", {"rows": rows})


def upload(request):
    """Shows the data that has arrived, to prove that it is complete."""
    form = UploadForm(request.POST or None, request.FILES or None)
    received = None
    if form.is_valid():
        file = form.cleaned_data["file"]
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        received = {"name": file.name, "size": file.size, "sha256": digest.hexdigest()}
    return render(request, "blog/upload.html", {"form": form, "received": received})
