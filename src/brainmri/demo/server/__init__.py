"""The demo's server, bounded and discreet."""
