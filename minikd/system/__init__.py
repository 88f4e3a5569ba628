"""What touches the operating system: files, the console, the command line."""
