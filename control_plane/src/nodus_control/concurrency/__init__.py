"""Threads, fair turns at them where they are scarce, and wake-ups for whoever waits."""
