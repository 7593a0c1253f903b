"""Images, layers and tars: built, drawn by hypothesis, as others pack them."""
