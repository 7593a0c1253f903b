"""What an operator and a timer do to repositories, besides publishing to them."""
