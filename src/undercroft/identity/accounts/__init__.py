"""Accounts of people: passwords, signing in with them, and mails that prove an address."""
