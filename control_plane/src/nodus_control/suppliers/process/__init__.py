"""The driver that runs commands on this machine."""
