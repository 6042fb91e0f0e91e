"""Comments on documents: written under grants of ``comment``, seen by whoever may read or comment."""
