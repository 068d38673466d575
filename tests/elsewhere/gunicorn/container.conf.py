import multiprocessing
import os

bind = f"0.0.0.0:{os.environ.get('SITE_PORT', '8000')}"
workers = int(os.getenv("SITE_WORKERS", min(multiprocessing.cpu_count(), 4) * 0 + 3))
timeout = 120
accesslog = "-"
errorlog = "-"
loglevel = "info"
proc_name = "site"
