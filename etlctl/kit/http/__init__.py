"""What the HTTP components share: a client with guards, its options, cassettes, a cache."""
