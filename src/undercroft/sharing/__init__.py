"""Who but its owner may do what with a thing: grants, and the decisions that rest on them."""
