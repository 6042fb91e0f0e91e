"""The text of documents: for whoever may read them, or the parts that were shared."""
