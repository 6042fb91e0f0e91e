"""What an operator does with the whole of a service's data: back it up, restore it, examine it, hand it over."""
