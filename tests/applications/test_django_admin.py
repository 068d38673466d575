"""A big admin of Django: a hundred models, thousands of rows, people who work in it while it reloads."""

import concurrent.futures
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from applications.djangos import Person, manage, prepare, python
from applications.holding import LONG, held, reload_meanwhile, serve
from integration.gate import Gate
from integration.server import Server

MODELS, ROWS, PEOPLE = 100, 3000, 3
APP = """
from django.db import models

class Base(models.Model):
    name = models.CharField(max_length=100)
    made = models.DateField(db_index=True)
    price = models.DecimalField(max_digits=9, decimal_places=2)
    note = models.TextField(blank=True)
    picture = models.FileField(blank=True, upload_to="pictures")

    class Meta:
        abstract = True

    def __str__(self):
        return self.name

for number in range({models}):
    above = models.ForeignKey(f"Kind{{max(number - 1, 0)}}", models.CASCADE, null=True, blank=True)
    more = {{"above": above}} if number else {{}}
    globals()[f"Kind{{number}}"] = type(f"Kind{{number}}", (Base,), {{"__module__": __name__, **more}})
"""
ADMIN = """
from django.apps import apps
from django.contrib import admin

for model in apps.get_app_config("stock").get_models():
    admin.register(model)(type(f"{model.__name__}Admin", (admin.ModelAdmin,), {
        "list_display": ("name", "made", "price"), "list_filter": ("made",), "search_fields": ("name", "note"),
        "date_hierarchy": "made", "list_editable": ("price",), "list_per_page": 200,
    }))
"""
SETTINGS = """
INSTALLED_APPS += ["stock"]
MEDIA_ROOT = BASE_DIR / "media"
DATABASES["default"]["OPTIONS"] = {"timeout": 60, "transaction_mode": "IMMEDIATE"}  # several people write
"""
FILL = """
import datetime
from stock.models import Kind0
day = datetime.date(2026, 1, 1)
Kind0.objects.bulk_create(
    Kind0(name=f"row {{n}}", made=day + datetime.timedelta(n % 300), price=n) for n in range({rows})
)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("admin")
    python("-m", "django", "startproject", "shop", str(place), cwd=place)
    manage(place, "startapp", "stock")
    (place / "stock" / "models.py").write_text(APP.format(models=MODELS))
    (place / "stock" / "admin.py").write_text(ADMIN)
    settings = place / "shop" / "settings.py"
    settings.write_text(settings.read_text() + SETTINGS)
    manage(place, "makemigrations", "stock", "--verbosity", "0")
    prepare(place, "shop")
    manage(place, "shell", "--command", FILL.format(rows=ROWS))
    return place


@pytest.fixture
def server(project: Path, gate: Gate) -> Iterator[Server]:
    with serve("held_site:application", gate, {"DJANGO_SETTINGS_MODULE": "shop.settings"}, project) as server:
        yield server


def works(person: Person, number: int) -> None:
    """Look through the lists, add a row, change it, look at its history, delete it."""
    assert f"{MODELS - 1}/add/" in person.see("/admin/")
    assert "row 17" in person.see("/admin/stock/kind0/?q=row+17&o=-2.3")
    assert "200" in person.see("/admin/stock/kind0/?p=3&made__year=2026")
    name = f"new of {number}"
    fields = {"name": name, "made": "2026-05-05", "price": "1.50", "note": "n" * 5000, "_continue": "1"}
    picture = {"picture": (f"{number}.bin", bytes(300_000))}
    added = person.send(f"/admin/stock/kind{number}/add/", fields, picture)
    path = added.url.partition("/admin")[2].removesuffix("change/")
    assert "was added successfully" in added.text
    changed = person.send(f"/admin{path}change/", {**fields, "note": "changed", "price": "2.00"})
    assert "was changed successfully" in changed.text
    assert "Changed Price and Note" in person.see(f"/admin{path}history/")
    assert "was deleted successfully" in person.send(f"/admin{path}delete/", {"post": "yes"}).text


def test_people_work_in_it_through_reloads(server: Server) -> None:
    people = [Person(server.url, "/admin/login/?next=/admin/") for _ in range(PEOPLE)]
    with concurrent.futures.ThreadPoolExecutor(PEOPLE) as pool:
        for _ in range(2):
            at_work = [pool.submit(partial(works, person, number)) for number, person in enumerate(people, 1)]
            assert server.reload()
            for each in at_work:
                each.result(LONG)


def test_an_action_on_many_rows_during_a_reload(server: Server, gate: Gate) -> None:
    person = Person(server.url, "/admin/login/?next=/admin/")
    path = "/admin/stock/kind0/"
    fields = {"action": "delete_selected", "select_across": "1", "index": "0", "_selected_action": "1"}
    assert f"{ROWS}" in person.send(path, fields).text
    with concurrent.futures.ThreadPoolExecutor(1) as pool, held(gate, "POST /admin/stock/kind0/"):
        deleting = pool.submit(partial(person.send, path, {**fields, "post": "yes"}))
        reload_meanwhile(server, gate)
        assert f"Successfully deleted {ROWS} kind0s" in deleting.result(LONG).text
    assert "0 kind0s" in person.see(path)
