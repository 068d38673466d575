"""Names and what they lead to: the application, or an error that says which of the many ways it went wrong."""

import contextlib
import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spawning.errors import AppLoadError, ConfigError
from spawning.settings import as_dict, checked
from spawning.wsgi_factory import app_factory, config_factory, prepare_path, resolve

Package = Callable[[dict[str, str]], None]


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Package]:
    """A function that writes modules (path to source) where they can be imported; forgets them afterwards."""
    path, modules = list(sys.path), set(sys.modules)

    def write(files: dict[str, str]) -> None:
        for name, source in files.items():
            file = tmp_path / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    sys.path.insert(0, str(tmp_path))
    yield write
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def refused(name: str) -> AppLoadError:
    with pytest.raises(AppLoadError) as caught:
        app_factory({"args": [name]})
    assert "\n" not in str(caught.value)
    return caught.value


APPLICATION = """
    class Site:
        class inner:
            def app(environ, start_response): ...

    def app(environ, start_response): ...
    def make(): return app
    def make_with(config=None): return app
    def make_from(config): return app
    async def asgi(scope, receive, send): ...
    number = 7
"""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("site_a.web:app", "app"),
        ("site_a.web.app", "app"),
        ("site_a.web:make()", "app"),
        ("site_a.web.make()", "app"),
        ("site_a.web:Site.inner.app", "Site.inner.app"),
        ("site_a.web.Site.inner.app", "Site.inner.app"),
        ("site_a.web:Site", "Site"),
    ],
)
def test_forms_of_a_name(package: Package, name: str, found: str) -> None:
    package({"site_a/web": APPLICATION})
    assert resolve(name).__qualname__ == found


def test_attribute_that_hides_a_module_of_its_name(package: Package) -> None:
    package({"site_b/__init__": "from site_b.app import app", "site_b/app": "def app(environ, start_response): ..."})
    assert resolve("site_b.app").__qualname__ == "app"
    assert resolve("site_b.app.app").__qualname__ == "app"


def test_module_that_does_not_exist(package: Package) -> None:
    package({"site_c/web": APPLICATION})
    error = refused("site_c.wbe:app")
    assert str(error).startswith(
        f"there is no module site_c.wbe (wanted for site_c.wbe:app); looked for in {os.getcwd()}"
    )
    assert error.details == ""
    assert str(refused("site_x.web.app")).startswith("there is no module site_x (wanted for site_x.web.app)")


def test_module_that_imports_what_does_not_exist(package: Package) -> None:
    package({"site_d/web": "import json\nimport site_missing_dependency\n"})
    for name in ("site_d.web:app", "site_d.web.app"):
        error = refused(name)
        assert str(error).startswith("cannot import site_d.web (wanted for ")
        assert str(error).endswith("ModuleNotFoundError: No module named 'site_missing_dependency'")
        assert "site_d/web.py" in error.details
        assert "import site_missing_dependency" in error.details


def test_module_that_imports_a_missing_module_of_its_own_package(package: Package) -> None:
    package({"site_e/__init__": "import site_e.models\n"})
    error = refused("site_e.models.app")
    assert error.details, "the package exists and fails, so its traceback belongs to the answer"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise KeyError", "KeyError"),
        ("import sys; sys.exit('no licence')", "SystemExit: no licence"),
    ],
)
def test_module_that_fails(package: Package, source: str, message: str) -> None:
    package({"site_f": source})
    error = refused("site_f:app")
    assert str(error) == f"cannot import site_f (wanted for site_f:app): {message}"
    assert error.details.startswith("Traceback (most recent call last):\n")
    assert "site_f.py" in error.details


def test_syntax_error_names_file_and_line(package: Package) -> None:
    package({"site_g": "\n\ndef broken(:\n    pass\n"})
    error = refused("site_g:app")
    assert "SyntaxError: invalid syntax (" in str(error)
    assert "site_g.py, line 3)" in str(error)
    assert "def broken(:" in error.details


def test_traceback_shows_the_application_only(package: Package) -> None:
    package(
        {
            "site_h/web": "from site_h import settings\n",
            "site_h/settings": """
            try:
                {}["first"]
            except KeyError as error:
                raise LookupError("second") from error
        """,
        }
    )
    details = refused("site_h.web:app").details
    assert "importlib" not in details
    assert str(Path(resolve.__code__.co_filename).parent) not in details
    assert details.index("KeyError: 'first'") < details.index("site_h/web.py") < details.index("LookupError: second")


def test_missing_attribute_suggests_close_names(package: Package) -> None:
    package({"site_i": "application = print\n"})
    error = refused("site_i:aplication")
    assert str(error).startswith("module site_i (/")
    assert str(error).endswith("has no 'aplication' (wanted for site_i:aplication); did you mean application?")
    assert str(refused("site_i:application.handle")).startswith("object site_i.application has no 'handle'")
    assert error.details == ""


def test_attribute_that_fails_has_its_traceback(package: Package) -> None:
    package({"site_j": "def __getattr__(name):\n    raise AttributeError(f'not today: {name}')\n"})
    error = refused("site_j:app")
    assert str(error) == "cannot get app from site_j: AttributeError: not today: app"
    assert "site_j.py" in error.details


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("site_k:", "'site_k:' is not a name: write package.module:attribute, such as mysite.wsgi:application"),
        ("./site_k.py", "'./site_k.py' is not a name: write package.module:attribute, such as mysite.wsgi:application"),
        ("site_k:number", "site_k:number is not callable: it is an object of type int, not a WSGI application"),
        ("site_k:number()", "site_k:number is not callable: it is an object of type int"),
        (
            "site_k:make",
            "site_k:make takes (), not (environ, start_response); if it makes the application, put () behind",
        ),
        ("site_k:make_with", "site_k:make_with takes (config=None), not (environ, start_response); if it makes the "),
        ("site_k:make_from", "site_k:make_from takes (config), not (environ, start_response)"),
        ("site_k:asgi", "site_k:asgi takes (scope, receive, send), not (environ, start_response); this is an ASGI "),
    ],
)
def test_what_is_no_application(package: Package, name: str, message: str) -> None:
    package({"site_k": APPLICATION})
    assert str(refused(name)).startswith(message)


APP = "def {}(environ, start_response): ...\n"
MAKE = "def create_app():\n    def made(environ, start_response): ...\n    return made\n"


@pytest.mark.parametrize(
    ("word", "files", "name"),
    [
        ("site_u", {"site_u": APP.format("application") + APP.format("app") + MAKE}, "site_u:application"),
        ("site_u", {"site_u": APP.format("app") + MAKE}, "site_u:app"),
        ("site_u", {"site_u": MAKE}, "site_u:create_app()"),
        ("site_u", {"site_u": "application = 7\n" + APP.format("app")}, "site_u:app"),
        ("site_u.py", {"site_u": APP.format("app")}, "site_u:app"),
        ("site_u.web", {"site_u/web": APP.format("application")}, "site_u.web:application"),
        ("site_u.web", {"site_u/__init__": "", "site_u/web": APP.format("app")}, "site_u.web:app"),
        ("site_u.web", {"site_u/__init__": "from . import web", "site_u/web": MAKE}, "site_u.web:create_app()"),
        ("site_u", {"site_u/__init__": "from .app import app as application", "site_u/app": APP.format("app")}, None),
        # a name that has always meant an attribute goes on to do so
        ("site_u.app", {"site_u/__init__": "from .app import app", "site_u/app": APP.format("app")}, "site_u.app"),
    ],
)
def test_a_module_has_its_application_by_a_usual_name(
    package: Package, word: str, files: dict[str, str], name: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    package(files)
    name = name or "site_u:application"
    assert callable(app_factory({"args": [word]}))
    said = [record.getMessage() for record in caplog.records]
    assert said == ([] if name == word else [f"application found in its module application={name}"])


@pytest.mark.parametrize(
    ("word", "source", "message"),
    [
        ("site_v", "number = 7", "module site_v ({file}) has neither application, app nor create_app(): write site_v:"),
        ("site_v.py", "", "module site_v ({file}) has neither application, app nor create_app(): write site_v:NAME"),
        (
            "site_v", "INSTALLED_APPS = []",
            "module site_v ({file}) has the settings of a Django project: write -f django site_v",
        ),
        ("site_v", "import no_such_thing", "cannot import site_v: ModuleNotFoundError: No module named 'no_such_"),
        ("site_w", "", "there is no module site_w; looked for in "),
        ("site_v.web", "", "module site_v ({file}) has no 'web' (wanted for site_v.web)"),
        ("site_v", "def create_app(config): ...", "calling site_v:create_app() failed: TypeError: "),
    ],
)  # fmt: skip
def test_a_module_without_an_application(
    package: Package, tmp_path: Path, word: str, source: str, message: str
) -> None:
    package({"site_v": source})
    assert str(refused(word)).startswith(message.format(file=tmp_path / "site_v.py"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("development.ini", "development.ini is an ini file: write -f paste development.ini"),
        ("conf/site.toml", "conf/site.toml is a file of settings: write --config conf/site.toml"),
        (
            "manage.py",
            "manage.py is not an application: write spawn alone in its directory, or -f django mysite.settings",
        ),
        ("src/app.py", "src/app.py is a file: write --chdir src app:application, or the module's name"),
        ("src/app.py:site", "src/app.py is a file: write --chdir src app:site, or the module's name"),
        ("app.py:site", "app.py is a file: write app:site"),
        ("./app.py", "./app.py is a file: write app:application"),
        ("app.py:", "app.py is a file: write app:application"),
    ],
)
def test_a_file_that_is_no_module(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_factory({"args": [word]})
    assert str(caught.value).startswith(message)


def test_factory_that_fails(package: Package) -> None:
    package({"site_l": "def make():\n    raise ValueError('no database')\n"})
    error = refused("site_l:make()")
    assert str(error) == "calling site_l:make() failed: ValueError: no database"
    assert "in make" in error.details


MIDDLEWARE = """
    class Layer:
        def __init__(self, app): self.app = app
        def __call__(self, environ, start_response): ...

    class Outer(Layer): ...
    def broken(app): raise OSError("no cache")
    def forgetful(app): ...
    number = 7
"""


def test_last_middleware_is_outermost(package: Package) -> None:
    package({"site_m": MIDDLEWARE, "site_n": APPLICATION})
    wrapped: Any = app_factory({"args": ["site_n:app", "site_m:Layer", "site_m:Outer"]})
    assert type(wrapped).__name__ == "Outer"
    assert type(wrapped.app).__name__ == "Layer"
    assert wrapped.app.app is resolve("site_n:app")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("site_m:broken", "middleware site_m:broken failed to wrap the application: OSError: no cache"),
        ("site_m:number", "middleware site_m:number is not callable: it is an object of type int"),
        (
            "site_m:forgetful",
            "what middleware site_m:forgetful returned is not callable: it is an object of type NoneType",
        ),
        ("site_m:missing", "module site_m "),
    ],
)
def test_middleware_that_does_not_work(package: Package, layer: str, message: str) -> None:
    package({"site_m": MIDDLEWARE, "site_n": APPLICATION})
    with pytest.raises(AppLoadError) as caught:
        app_factory({"args": ["site_n:app", layer]})
    assert str(caught.value).startswith(message)


def test_config_factory_names_the_application_factory_and_keeps_the_settings() -> None:
    args = as_dict(checked({"args": ["a:b"], "port": 1}))
    config = config_factory(args)
    assert resolve(config["app_factory"]) is app_factory
    assert {**config, **args} == config


def test_config_factory_without_an_application() -> None:
    with pytest.raises(ConfigError, match="no APP given"):
        config_factory(as_dict(checked({})))


def test_current_directory_is_put_first_once(tmp_path: Path) -> None:
    before = list(sys.path)
    try:
        with contextlib.chdir(tmp_path):
            prepare_path()
            prepare_path()
        assert sys.path == list(dict.fromkeys([str(tmp_path), *before]))
    finally:
        sys.path[:] = before


# What can be called ---------------------------------------------------------------------------------------------------

CALLABLES = """
    import functools

    class Request: ...

    def of_request(function):
        @functools.wraps(function)
        def application(environ, start_response): ...
        return application

    @of_request
    def wraps(request): ...

    @functools.wraps(of_request)
    def takes_any(*arguments): ...

    def claims(*arguments): ...
    claims.__signature__ = __import__("inspect").signature(of_request)

    def with_more(environ, start_response, *, config=None, **others): ...
    def with_default(environ, start_response, config=None): ...

    class Instance:
        def __call__(self, environ, start_response): ...
        def method(self, environ, start_response): ...
        @classmethod
        def of_class(cls, environ, start_response): ...
        @staticmethod
        def static(environ, start_response): ...

    class Wrapping(Instance):
        __wrapped__ = of_request
        def __init__(self): functools.update_wrapper(self, of_request)

    class Static:
        __call__ = staticmethod(with_more)
    class OfClass:
        @classmethod
        def __call__(cls, environ, start_response): ...
    class Partly:
        __call__ = functools.partialmethod(lambda self, one, environ, start_response: ..., 1)
    class Holding:
        __call__ = Instance()
    class AnyArguments:
        def __call__(*arguments): ...

    class Iterable:
        def __init__(self, environ, start_response): ...
        def __iter__(self): ...
    class Made:
        def __new__(cls, environ, start_response): ...
    class Meta(type):
        def __call__(cls, environ, start_response): ...
    class ByMeta(metaclass=Meta): ...

    instance, wrapping, static, of_class = Instance(), Wrapping(), Static(), OfClass()
    partly, holding, any_arguments = Partly(), Holding(), AnyArguments()
    method, class_method, static_method = instance.method, Instance.of_class, instance.static
    cached = functools.lru_cache(with_default)
    partial = functools.partial(lambda config, environ, start_response: ..., {})
    bound_wraps = functools.partial(wraps)
    in_c = dict().setdefault
"""


@pytest.mark.parametrize(
    "name",
    [
        "wraps", "takes_any", "claims", "with_more", "with_default", "instance", "wrapping", "static", "of_class",
        "partly", "holding", "any_arguments", "method", "class_method", "static_method", "Iterable", "Made", "ByMeta",
        "cached", "partial", "bound_wraps", "in_c",
    ],
)  # fmt: skip
def test_whatever_can_be_called_with_two_arguments_is_an_application(package: Package, name: str) -> None:
    package({"site_o": CALLABLES})
    assert app_factory({"args": [f"site_o:{name}"]}) is resolve(f"site_o:{name}")


REFUSED = """
    import functools

    def adapted(function):
        @functools.wraps(function)
        def application(request): ...
        return application

    @adapted
    def wraps(environ, start_response): ...

    def keywords(environ, start_response, *, config): ...

    class NoArguments:
        def __call__(self, environ, start_response): ...
    class Settings:
        def __init__(self, settings=None): ...
    class Request:
        def __call__(self, request): ...
        async def asgi(self, scope, receive, send): ...
    class Static:
        @staticmethod
        def __call__(request): ...

    request, static = Request(), Static()
    asgi = request.asgi
"""


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("wraps", "(request)"),
        ("keywords", "(environ, start_response, *, config)"),
        ("NoArguments", "()"),
        ("Settings", "(settings=None)"),
        ("request", "(request)"),
        ("static", "(request)"),
        ("asgi", "(scope, receive, send)"),
    ],
)
def test_what_cannot_be_called_so_is_refused_with_what_it_takes(package: Package, name: str, takes: str) -> None:
    package({"site_p": REFUSED})
    assert str(refused(f"site_p:{name}")).startswith(f"site_p:{name} takes {takes}, not (environ, start_response)")
