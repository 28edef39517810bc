"""The `docker` driver: runs images in containers of an engine that answers the Docker Engine API."""
