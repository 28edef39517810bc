# Generated from src/nodus/_async/__init__.py: do not edit. Edit that file, then run tools/unasync_build.py.
"""Everything that waits, written by hand; `nodus._sync` is generated from it."""
