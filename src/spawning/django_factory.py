"""The factory for Django (``-f django``): ``spawn -f django mysite.settings [MIDDLEWARE …]``.

A generation is good only if the site is: settings, ``django.setup()``, the system checks that ``manage.py check`` runs
(level ERROR and above), the URLconf and the handler all have to load, so that a reload onto a broken site is refused
instead of answered with 500.

Rules: Django is imported inside the functions (only a fork server or worker has it); nothing is written to its
settings; no connection to a database or a cache is left open for a worker to inherit. Works with Django 4.2 and later.
"""

import importlib.util
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from spawning.errors import AppLoadError, ConfigError
from spawning.wsgi_factory import WSGIApplication, application_errors, import_module, resolve, wrap

OLDEST = (4, 2)  # of the versions of Django that this works with


def config_factory(args: dict[str, Any]) -> dict[str, Any]:
    """Take the settings module from ``args["args"]`` and choose the application factory of this module.

    :raises ConfigError: no settings module is named, a file is named instead, or Django is not installed, or too old.
    """
    if not args["args"]:
        raise ConfigError("no settings module given: name it, such as mysite.settings")
    module = args["args"][0]
    if os.path.basename(module) == "manage.py":
        raise ConfigError(f"{module} is a program: leave it out, and the settings that it names are found")
    if module.endswith(".py") or "/" in module:
        named = module.removesuffix(".py").replace("/", ".").strip(".")
        raise ConfigError(f"{module} is a path: name the settings module, such as {named}")
    if importlib.util.find_spec("django") is None:
        raise ConfigError("the factory django needs Django: pip install django")
    _check_version()
    return {**args, "app_factory": "spawning.django_factory.app_factory", "django_settings_module": module}


def _check_version() -> None:
    with application_errors("Django cannot be imported"):
        import django
    if django.VERSION[:2] < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ConfigError(
            f"the factory django needs Django {oldest} or newer, not {django.get_version()}: upgrade it,"
            " or name the application, such as mysite.wsgi:application, without -f django"
        )


def app_factory(config: dict[str, Any]) -> WSGIApplication:
    """Set Django up, check the site, and build its handler, wrapped in the middleware that follows the settings module.

    :raises AppLoadError: the settings do not import, Django refuses them, a system check fails, the URLconf, the
        handler or a middleware does not load.
    """
    module = config["django_settings_module"]
    os.environ["DJANGO_SETTINGS_MODULE"] = module
    _check_is_settings(import_module(module), module)
    with application_errors(f"Django cannot be set up with the settings {module}"):
        import django

        django.setup()
    _load_urls(module)  # before the checks, which load it too but cannot say what they are doing
    _check(module)
    application = _handler(module)
    if config.get("reload") == "dev":
        _name_directories(config)
        config["notices"] = _unapplied_migrations
    try:
        return wrap(_with_static_files(application, module), f"the WSGI application of {module}", config["args"][1:])
    finally:
        close_connections()


def close_connections() -> None:
    """Close the database connections, their pools and the cache connections that loading the site has opened.

    A connection shared by two processes after a fork mixes their conversations.
    """
    from django.core.cache import caches
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):  # PostgreSQL since Django 5.1, Oracle since 5.2
            connection.close_pool()
    caches.close_all()


def _check_is_settings(found: ModuleType, module: str) -> None:
    """See that a module is what Django takes for settings. Django itself takes any, and then every request fails.

    :raises AppLoadError: it has no ``ROOT_URLCONF``, which Django reads at every request and has no default for.
    """
    if getattr(found, "ROOT_URLCONF", None):
        return
    has_settings = any(name.isupper() and not name.startswith("_") for name in vars(found))
    last = module.rpartition(".")[2]
    if has_settings:
        hint = 'add the module of the URLs, such as ROOT_URLCONF = "mysite.urls"'
    elif last in ("wsgi", "asgi"):
        sibling = f"{module[: -len(last)]}settings"
        hint = f"it is no settings module: name {sibling}, or serve {module}:application without -f django"
    elif hasattr(found, "__path__"):
        hint = f"it is a package, and no settings module: name {module}.settings"
    else:
        hint = "it is no settings module: name the one that manage.py names, such as mysite.settings"
    raise AppLoadError(f"{module} has no ROOT_URLCONF: {hint}")


def _check(module: str) -> None:
    """Run the checks that ``manage.py check`` runs: all but those of the databases and of deployment."""
    from django.core import checks

    with application_errors(f"the system checks of {module} cannot run"):
        issues = [issue for issue in checks.run_checks() if issue.level >= checks.ERROR and not issue.is_silenced()]
    if issues:
        count = f"{len(issues)} error{'s' if len(issues) > 1 else ''}"
        details = "".join(f"{issue}\n" for issue in issues)
        raise AppLoadError(f"the system checks of {module} found {count}, the first is {issues[0].id}", details)


def _load_urls(module: str) -> None:
    from django.conf import settings
    from django.urls import get_resolver

    with application_errors(f"the URLconf {settings.ROOT_URLCONF} of {module} does not load"):
        _ = get_resolver().url_patterns


def _handler(module: str) -> Any:
    """Return what ``WSGI_APPLICATION`` names (``startproject`` writes it), otherwise Django's own handler."""
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application

    if settings.WSGI_APPLICATION:
        return resolve(settings.WSGI_APPLICATION)
    with application_errors(f"the handler of {module} cannot be built"):
        return get_wsgi_application()


def _name_directories(config: dict[str, Any]) -> None:
    """Name the directories to watch, and which not (``forkserver/generation.py``).

    Templates that are kept in memory are watched, those that each request reads anew need no reload. Uploads are none.
    Those of Django itself do not change.
    """
    import django
    from django.conf import settings
    from django.template import engines

    own = os.path.dirname(os.path.abspath(django.__file__)) + os.sep
    kept: set[str] = set()
    fresh: set[str] = set()
    with application_errors("the template engines cannot be made"):
        found = engines.all()
    for engine in found:
        for directory, is_kept in _template_directories(engine):
            path = os.path.abspath(directory)
            if not path.startswith(own):
                (kept if is_kept else fresh).add(path)
    config["watched_directories"] = sorted(kept)
    uploads = {os.path.abspath(settings.MEDIA_ROOT)} if settings.MEDIA_ROOT else set()
    config["unwatched_directories"] = sorted((fresh | uploads) - kept)


def _unapplied_migrations() -> list[str]:
    """Return which migrations the default database lacks, as ``manage.py runserver`` does; in a thread of a worker."""
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    try:
        executor = MigrationExecutor(connections["default"])
        missing = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    finally:
        connections.close_all()
    if not missing:
        return []
    apps = ", ".join(sorted({migration.app_label for migration in missing}))
    return [f"{len(missing)} of the migrations of {apps} are not applied: python manage.py migrate"]


def _template_directories(engine: Any) -> Iterator[tuple[str, bool]]:
    """Yield the directories of a template engine, and whether it keeps what it has read there."""
    loaders = getattr(getattr(engine, "engine", None), "template_loaders", None)
    if loaders is None:  # not Django's own templates
        environment = getattr(engine, "env", None)  # Jinja2's, which looks at the files if it is told to
        is_kept = not getattr(environment, "auto_reload", False)
        yield from ((str(directory), is_kept) for directory in getattr(engine, "template_dirs", ()))
        return
    for loader in loaders:
        inner = getattr(loader, "loaders", None)  # of the loader that keeps templates
        for each in inner if inner is not None else [loader]:
            if hasattr(each, "get_dirs"):
                yield from ((str(directory), inner is not None) for directory in each.get_dirs())


def _with_static_files(application: Any, module: str) -> Any:
    """Serve static files in front of a site in DEBUG mode, exactly when ``manage.py runserver`` does."""
    from django.apps import apps
    from django.conf import settings

    if not settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return application
    with application_errors(f"the static files of {module} cannot be served"):
        from django.contrib.staticfiles.handlers import StaticFilesHandler

        return StaticFilesHandler(application)
