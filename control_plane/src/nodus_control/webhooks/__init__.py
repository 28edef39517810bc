"""Delivering events to customers' endpoints: where they may lead, how they are reached, and when it is tried again."""
