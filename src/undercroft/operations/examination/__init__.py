"""Examines everything that is kept: each key, ciphertext, passage and ledger entry is opened or derived again."""
