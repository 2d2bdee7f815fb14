"""What is told of the server while it runs: its log so far; metrics belong here too, once there are some."""
