"""The library in Django's admin."""

from django.contrib import admin

from library.models import Attachment, Author, Book, Review


@admin.register(Author)
class AuthorAdmin(admin.ModelAdmin):
    list_display = ("name", "born")
    search_fields = ("name",)


class ReviewInline(admin.TabularInline):
    model = Review
    extra = 0


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ("title", "author", "published", "pages")
    list_filter = ("published",)
    list_select_related = ("author",)
    search_fields = ("title", "author__name")
    inlines = (ReviewInline,)


admin.site.register(Attachment)
