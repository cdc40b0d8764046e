"""How large a picture may be, of training data and of uploads alike."""

# Four times a 4096x2048 film scan is still less; a slice has well under one million pixels. At 8 bytes per pixel (the
# scaling of 16-bit pictures) this bounds the memory of one file to about 320 MB.
MAX_PIXELS = 40_000_000
# A picture of few pixels can still be so long that resizing it takes gigabytes: the weights of a resampling grow with
# one side, and a processor that brings the shorter side to 224 pixels makes the longer one that many times longer.
MAX_SIDE = 8192  # pixels of either side
MAX_RATIO = 64  # of the longer side to the shorter: eight rows of 512 pixels
MAX_BYTES = 256 * 2**20  # of one file: 40 million uncompressed 16-bit RGB pixels fit
MIN_SIDE = 8  # pixels; the networks and the thumbnails need something to look at


def is_too_long(width: int, height: int) -> bool:
    """Whether a side of a picture, in pixels, is longer than `MAX_SIDE`, or than `MAX_RATIO` times the other."""
    longer, shorter = max(width, height), min(width, height)
    return longer > MAX_SIDE or longer > MAX_RATIO * max(shorter, MIN_SIDE)
