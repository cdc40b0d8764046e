"""Untrusted bytes -> checked 8-bit slices: used by prepare, audit, predict and the demo."""
