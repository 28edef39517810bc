"""`nodus ledger`: the customer's Trust Ledger."""

from __future__ import annotations

from ...groups import Subcommands

command = Subcommands(
    "ledger",
    __name__,
    {
        "entries": "Print rows, in order.",
        "checkpoint": "Print the signed size and root of the ledger as it is now.",
        "key": "Print the public key that checkpoints are signed with.",
        "proof": "Print the proof that a row is in the ledger.",
        "consistency": "Print the proof that one ledger begins with another.",
        "verify": "Verify the whole ledger: rows, chain, tree and signature.",
    },
    help="Read and verify the Trust Ledger.",
)
