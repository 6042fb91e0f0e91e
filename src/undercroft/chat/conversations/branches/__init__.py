"""Branches of conversations: what goes on from an earlier item, beside what has gone on from it before."""
