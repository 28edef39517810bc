# Generated from src/nodus/_async/__init__.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""All that waits, by hand; `nodus._sync` is generated from it."""
