"""Where jobs run: the protocol of drivers, the choice among them, and a folder for each."""
