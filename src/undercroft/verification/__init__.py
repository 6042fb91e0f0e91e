"""Holds what somebody was handed against what is kept now, and tells them no more than that."""
