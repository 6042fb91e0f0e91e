"""Verifies a log, an export or one proof without trusting who wrote it.

Nothing here is shared with the code that writes the log, other than the hash function, so a mistake there is not
repeated here. It needs no settings, no database and no network, and takes every file as written by an enemy.
"""
