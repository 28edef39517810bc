"""Property tests have as long as they need: what they hold says nothing of time."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
