"""Everything that waits, written by hand; `nodus._sync` is generated from it."""
