"""``undercroft worker``: the command, and all that a worker does, wired part by part."""
