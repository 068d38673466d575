paste = "config:production.ini#shop"
raw_paste_global_conf = ["here=/", "debug=false"]
bind = "fd://3"
workers = 2
pythonpath = "/,/usr"
