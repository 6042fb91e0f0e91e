"""Answers: prompts from passages the asker may read, models that write, citations that hold."""
