"""How an attempt can end without the job: the words that `attempts.outcome` and the ledger have for it."""

from __future__ import annotations

REFUSED = "refused"
"""The supplier had no room."""

LOST = "lost"
"""It began, or may have begun, and nothing more will come of it."""

OUTAGE = "outage"
"""Its supplier was declared out, and it was ended there."""

NOT_STARTED = "not_started"
"""The program never ran and never will: that is no loss, and the supplier may have it again after a while."""

GONE = (LOST, OUTAGE)
"""Those that a supplier had, and has no more."""
