"""The version, in one place for the package, its `User-Agent` and the build."""

__version__ = "0.1.0"
