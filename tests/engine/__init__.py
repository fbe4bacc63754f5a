"""Tests of the engine: the protocol without sockets, everything else against scripted servers."""
