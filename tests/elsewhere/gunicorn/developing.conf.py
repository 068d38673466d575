wsgi_app = "shop:create_app()"
reload = True
reload_engine = "poll"
reload_extra_files = ["templates", "shop.yaml"]
loglevel = "debug"
accesslog = "-"
reuse_port = True
sendfile = False
