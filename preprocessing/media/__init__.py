"""Bytes of pictures and films to frames, in a confined child process."""
