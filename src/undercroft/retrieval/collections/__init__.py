"""Collections: named sets of documents that are searched together. OpenAI's API calls them vector stores."""
