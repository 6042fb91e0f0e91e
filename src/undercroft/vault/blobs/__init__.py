"""Where the encrypted bytes of documents are: received into a staging folder, kept in a store, read from there."""
