"""What `make demo` needs besides the project itself: a real, free data set in the schema of the trainer."""
