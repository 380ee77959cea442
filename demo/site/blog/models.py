"""Articles, and the comments of their readers."""

from django.db import models
from django.urls import reverse


class Article(models.Model):
    slug = models.SlugField(allow_unicode=True, unique=True)
    title = models.CharField(max_length=100)
    summary = models.CharField(max_length=300)
    text = models.TextField()
    published = models.DateField()

    class Meta:
        ordering = ["-published", "slug"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("article", args=[self.slug])


class Comment(models.Model):
    article = models.ForeignKey(Article, on_delete=models.CASCADE, related_name="comments")
    name = models.CharField(max_length=60)
    text = models.TextField(max_length=2000)
    written = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["written"]
