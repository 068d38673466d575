# Values as they come out of variables and of ini files: texts.
bind = "0.0.0.0"
workers = "3"
threads = "2"
timeout = "90"
daemon = "false"
preload_app = "true"
umask = "0022"
default_proc_name = "chats"
wsgi_app = "chats.app:create_app('live')"
on_starting = None
