"""The lease worker: it gives jobs to suppliers, and decides what their reports mean."""
