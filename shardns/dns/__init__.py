"""DNS vocabulary: names, code points, messages. Pure: no sockets, no clock, no randomness."""
