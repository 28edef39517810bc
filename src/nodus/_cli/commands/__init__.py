"""The commands, by their subject: each is `<name>_command` in its module (`registry.py`)."""
