"""All that waits, by hand; `nodus._sync` is generated from it."""
