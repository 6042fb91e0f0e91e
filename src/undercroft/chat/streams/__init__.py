"""Streams of events: on disk before anybody sees them, written by one process at a time, watched by any."""
