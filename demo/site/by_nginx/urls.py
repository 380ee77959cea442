"""The views of the paths below /by-nginx/."""

from django.urls import path

from by_nginx import views

urlpatterns = [
    path("", views.overview, name="by-nginx"),
    path("slow/", views.slow, name="slow"),
    path("short/", views.short, name="short"),
    path("language/", views.language, name="language"),
    path("cookie/", views.cookie, name="cookie"),
    path("private/", views.private, name="private"),
]
