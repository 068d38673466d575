"""An app for ``INSTALLED_APPS`` that gives ``manage.py`` a command: ``manage.py spawn [ADDRESS]``.

It has no models and changes nothing of the project.
"""
