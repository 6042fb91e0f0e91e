"""Documents in: what a file is, and its text with exact offsets, read in a sandboxed process."""
