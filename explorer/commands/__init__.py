"""The commands of `scalespace-explorer`, one module each."""
