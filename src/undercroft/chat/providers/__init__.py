"""Language models behind one Protocol: outside servers, the built-in one, the extractive one."""
