"""Settings of the example site, importable as ``settings`` from its directory. Django 4.2 or newer.

The site is a showcase under load, so ``DEBUG`` is off unless ``SITE_DEBUG=1``: with it Django logs every query and is
much slower. Static files are served nevertheless, see ``urls.py``. All that the site writes (database, secret key,
attachments) is in one directory, ``data`` beside this file or ``SITE_DATA``.
"""

import os
from pathlib import Path

import django
from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent
DATA_DIR = Path(os.environ.get("SITE_DATA", BASE_DIR / "data"))
DATA_DIR.mkdir(parents=True, exist_ok=True)


def secret_key(path: Path) -> str:
    """Read the secret key from `path`; make one at the first start.

    All processes, and the next start too, need the same key, or sessions end. Whoever comes first, the file appears
    complete or not at all, because ``link`` does not replace.
    """
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(get_random_secret_key())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()


SECRET_KEY = os.environ.get("SITE_SECRET_KEY") or secret_key(DATA_DIR / "secret.key")
DEBUG = os.environ.get("SITE_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("SITE_HOSTS", "localhost 127.0.0.1 [::1]").split()

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "library",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "urls"
WSGI_APPLICATION = "wsgi.application"

# Several processes write: the journal is write-ahead (set by `manage.py prepare`; the file remembers it), a writer
# waits for its turn, and a transaction takes the write lock at its beginning, since SQLite refuses a late upgrade.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA_DIR / "site.sqlite3",
        "CONN_MAX_AGE": 60,
        "OPTIONS": {"timeout": 20} | ({"transaction_mode": "IMMEDIATE"} if django.VERSION >= (5, 1) else {}),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
MEDIA_ROOT = DATA_DIR / "uploads"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2**20
FILE_UPLOAD_MAX_MEMORY_SIZE = 2**18
MAX_ATTACHMENT_BYTES = 64 * 2**20
