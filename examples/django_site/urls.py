"""Addresses of the site.

Static files (the admin's and our own) come from Django itself through its ``staticfiles`` view, ``insecure`` because
that view otherwise refuses to work without ``DEBUG``: slow rather than unsafe, and right for a site that runs from one
command. For the public a web server or a CDN serves them, after ``manage.py collectstatic``.
"""

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("static/<path:path>", serve, {"insecure": True}),
    path("", include("library.urls")),
]
