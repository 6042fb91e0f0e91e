"""Tools elsewhere, which answers may call: remote servers of the Model Context Protocol."""
