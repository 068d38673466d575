"""Addresses of the library."""

from django.urls import path

from library import views

urlpatterns = [
    path("", views.book_list, name="books"),
    path("books/<int:pk>/", views.book_detail, name="book"),
    path("books/<int:pk>/attach/", views.attach, name="attach"),
    path("attachments/<int:pk>/", views.attachment, name="attachment"),
    path("sleep/", views.sleep, name="sleep"),
    path("stream/", views.stream, name="stream"),
    path("hello/", views.hello, name="hello"),
]
