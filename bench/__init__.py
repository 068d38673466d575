"""The benchmark suite: servers × workloads, side by side in one run, by ``python -m bench``. See README.md.

In reading order: ``servers`` and ``workloads`` (the two tables), ``apps`` (what is served), ``launch`` and ``tree`` (a
server process and what its tree of processes uses), ``load`` (``ab`` and ``wrk``), ``idle`` (connections that do
nothing), ``measure`` (one measurement), ``matrix`` (all of them, interleaved), ``results``, ``targets``, ``report``,
``plot``, ``marks`` (pages that the results are written into). ``prefork`` and ``apache`` start servers that have no
command of their own; ``limit`` is the application without any. ``install`` says what is missing, ``profile`` shows
where a server's time goes, ``slow`` puts slow clients beside fast ones, ``reload`` is a tool of its own.

Rules: nothing here imports ``spawning`` or is imported by it; the standard library is enough to run the suite, servers
live in a virtual environment of their own. Load goes to 127.0.0.1 only.
"""
