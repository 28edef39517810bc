"""A file for each revision. What has been released stays as it is: whoever changes the tables adds another."""
