"""Images that are the same or look alike, and the groups that they form."""
