"""What requests and answers look like, with examples: the served openapi.json is made of it."""
