"""Run folders: written, compared, pooled."""
