"""One router a resource; each only reads a request, asks the layers below, and answers."""
