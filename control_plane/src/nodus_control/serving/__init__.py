"""Running the API as a server: sockets, processes, signals, and the HTTP protocol."""
