"""One message to several people over one or more channels, each of whom gets it once."""
