"""What a tenant keeps: documents, their versions and their bytes."""
