"""The app's name and label."""

from django.apps import AppConfig


class SpawningConfig(AppConfig):
    name = "spawning.contrib.django"
    label = "spawning"
    verbose_name = "Spawning"
