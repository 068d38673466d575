"""``manage.py prepare``: everything between a checkout and a site that serves; harmless to repeat."""

import os
import secrets

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from library.models import Book


class Command(BaseCommand):
    help = "Create or update the database, fill an empty one with sample books, and make sure that there is an admin."

    def handle(self, *args, **options):
        connection.cursor().execute("PRAGMA journal_mode=wal")  # readers and a writer side by side; stays with the file
        call_command("migrate", verbosity=0, interactive=False)
        if not Book.objects.exists():  # never over somebody's edits
            call_command("loaddata", "books", verbosity=0)
        self.make_admin()
        self.stdout.write(f"{Book.objects.count()} books are ready")

    def make_admin(self):
        """Create the user ``admin`` once; a password that everybody knows would be a trap, so it is drawn and shown."""
        users = get_user_model().objects
        if not users.filter(is_superuser=True).exists():
            password = os.environ.get("SITE_ADMIN_PASSWORD") or secrets.token_urlsafe(9)
            users.create_superuser("admin", password=password)
            self.stdout.write(f"admin user made: admin / {password}  (change it with: manage.py changepassword admin)")
