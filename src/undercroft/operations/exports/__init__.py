"""Exports: all that a tenant keeps, as one archive of plain files that proves itself."""
