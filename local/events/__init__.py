"""What calls functions besides HTTP: queues, streams, and files in the import folder."""
