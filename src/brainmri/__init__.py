"""brainmri: train, compare and publish classifiers of brain-tumour MRI slices, and say how far to trust them."""

__version__ = "0.1.0"
