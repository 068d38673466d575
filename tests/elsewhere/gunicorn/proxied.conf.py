bind = ["0.0.0.0:8000", "unix:/run/shop.sock"]
workers = 2
proxy_protocol = True
proxy_allow_ips = "10.0.0.0/8, 127.0.0.1"
forwarded_allow_ips = "10.0.0.0/8,unix"
dirty_workers = 2
http_protocols = "h2,h1"
worker_class = "uvicorn.workers.UvicornWorker"
