"""Measurements. Every figure is a ratio within one run: this machine, this minute, interleaved rounds."""
