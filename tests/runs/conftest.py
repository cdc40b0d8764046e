"""A tiny prepared phantom set and the command that trains on it, as the tests of training have them."""

from ..training.conftest import environment, phantom, train, train_here  # noqa: F401
