"""Webhook endpoints, the outbox, and the deliveries that are due."""
