"""The mail seam: one message to one person, into a folder by default, to an SMTP server where one is configured."""
