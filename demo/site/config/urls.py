"""The views of the paths."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from blog import views

urlpatterns = [
    path("", views.articles, name="articles"),
    path("artikel/<str:slug>/", views.article, name="article"),
    path("artikel/<str:slug>/comment/", views.comment, name="comment"),
    path("big/", views.big, name="big"),
    path("by-nginx/", include("by_nginx.urls")),
    path("upload/", views.upload, name="upload"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
