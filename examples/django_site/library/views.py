"""The pages of the library, and a few to try a server with: one sleeps, one streams, one is as light as can be."""

import hashlib
import time
from collections.abc import Iterator

from django.core.paginator import Paginator
from django.db.models import Avg, Count
from django.http import FileResponse, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from library.forms import AttachmentForm, ReviewForm
from library.models import Attachment, Book

BOOKS_ON_A_PAGE = 10
LONGEST_SLEEP_MS = 10_000
MOST_STREAMED_LINES = 100_000


@require_safe
def book_list(request):
    """List the books, some on each page; ``?q=`` searches titles."""
    books = Book.objects.select_related("author")
    if query := request.GET.get("q", "").strip():
        books = books.filter(title__icontains=query)
    page = Paginator(books, BOOKS_ON_A_PAGE).get_page(request.GET.get("page"))
    return render(request, "library/book_list.html", {"page": page, "query": query})


def book_detail(request, pk):
    """Show a book with its reviews and attachments; POST adds a review."""
    book = get_object_or_404(Book.objects.select_related("author"), pk=pk)
    form = ReviewForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        form.instance.book = book
        form.save()
        return redirect(book)
    rating = book.reviews.aggregate(stars=Avg("stars"), number=Count("pk"))
    context = {"book": book, "form": form, "upload": AttachmentForm(), "rating": rating}
    return render(request, "library/book_detail.html", context)


@require_POST
def attach(request, pk):
    """Keep an uploaded file with the book."""
    book = get_object_or_404(Book, pk=pk)
    form = AttachmentForm(request.POST, request.FILES)
    if not form.is_valid():
        return HttpResponseBadRequest(form.errors.as_text(), content_type="text/plain; charset=utf-8")
    file = form.cleaned_data["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    Attachment.objects.create(book=book, file=file, size=file.size, sha256=digest.hexdigest())
    return redirect(book)


@require_safe
def attachment(request, pk):
    """Return an attached file (through the server's ``wsgi.file_wrapper``)."""
    found = get_object_or_404(Attachment, pk=pk)
    return FileResponse(found.file.open("rb"), as_attachment=True)


@require_safe
def sleep(request):
    """Wait for ``?ms=`` milliseconds, as for a slow database or another service."""
    milliseconds = _bounded(request, "ms", 10, LONGEST_SLEEP_MS)
    time.sleep(milliseconds / 1000)
    return HttpResponse(f"slept {milliseconds} ms\n", content_type="text/plain")


@require_safe
def stream(request):
    """Send ``?lines=`` lines one by one, of unknown total length."""
    lines = _bounded(request, "lines", 1000, MOST_STREAMED_LINES)

    def written() -> Iterator[str]:
        for number in range(1, lines + 1):
            yield f"line {number} of {lines}\n"

    return StreamingHttpResponse(written(), content_type="text/plain")


@require_safe
def hello(request):
    """Answer without a database and without a template."""
    return HttpResponse("Hello, world!\n", content_type="text/plain")


def _bounded(request, name: str, default: int, most: int) -> int:
    try:
        return min(most, max(0, int(request.GET[name])))
    except (KeyError, ValueError):
        return default
