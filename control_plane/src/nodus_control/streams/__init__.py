"""What live streams follow: events, output, and how many may be open."""
