"""Delivering events to customers' endpoints: where they may lead, and how they are reached.

When a delivery is tried again is decided in `nodus_core/webhook_retries.py`.
"""
