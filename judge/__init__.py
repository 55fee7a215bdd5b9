"""Is the challenger worse? Numbers in, verdict out. Pure: numpy and scipy only, no clock, no I/O, no randomness but from a seed it was given."""
