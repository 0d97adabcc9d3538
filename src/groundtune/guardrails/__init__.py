"""Guards on what comes in, on what is retrieved and on what goes out, and the red-team set that measures them."""
