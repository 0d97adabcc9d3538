"""What a crawl is made of: addresses, the guard of the network, state on disk, fetching, and the process that does it."""
