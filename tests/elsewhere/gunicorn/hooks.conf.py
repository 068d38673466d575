import os

bind = "0.0.0.0:8080"
workers = 2


def when_ready(server):
    server.log.info("ready")


def post_fork(server, worker):
    server.log.info("worker %s", worker.pid)


def child_exit(server, worker):
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)


if os.environ.get("SITE_DEBUG"):
    loglevel = "debug"
else:
    loglevel = "error"


pre_request = lambda worker, request: None
