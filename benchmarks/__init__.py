"""What Nodus costs beside the tools underneath and its peers: measured, printed as ratios, never a pass or a fail."""
