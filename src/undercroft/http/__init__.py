"""The HTTP faces. Thin: parse, call a service, render."""
