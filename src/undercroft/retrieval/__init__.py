"""From stored documents to passages: parsing, chunking, embedding, ranking, search."""
