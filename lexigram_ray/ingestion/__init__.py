"""From a path to chunks: sources, sandboxed parsing, chunking. Plain functions, no Ray."""
