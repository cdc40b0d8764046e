"""Source layouts -> prepared folders -> batches."""
