"""Responses: answers as the Open Responses specification has them, streamed event by event and kept."""
