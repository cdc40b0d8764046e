"""Every plot, page and card."""
