"""What other servers call things, for who comes from there: the settings of gunicorn (``gunicorn.py``) and what they
mean here, a file of them as a file of ours (``convert.py``), and the tables of ``docs/from/`` (``page.py``).

Rules: nothing here is imported while the server runs. What a setting is called here is looked up in the table of
settings when it is needed; an option that the table does not have is "not there yet", and never a key of the result.
"""
