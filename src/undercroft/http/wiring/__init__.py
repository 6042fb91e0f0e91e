"""The only place where the API's parts are wired together, by constructor: each module a part, on what is below it."""
