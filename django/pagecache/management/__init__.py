"""Where Django looks for a package's commands."""
