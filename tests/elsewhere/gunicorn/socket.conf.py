"""A site behind nginx, started by root."""

wsgi_app = "shop.wsgi:application"
chdir = "/"
bind = "unix:///run/shop/gunicorn.sock"
workers = 4
user = "www-data"
group = "www-data"
umask = 0o007
pidfile = "/run/shop/gunicorn.pid"
accesslog = "/var/log/shop/access.log"
errorlog = "/var/log/shop/error.log"
loglevel = "warning"
graceful_timeout = 45
raw_env = ["DJANGO_SETTINGS_MODULE=shop.settings.production", "LANG=C.UTF-8"]
