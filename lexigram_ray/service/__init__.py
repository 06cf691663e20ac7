"""The HTTP service: what the command line does, over HTTP, and vectors in OpenAI's shape."""
