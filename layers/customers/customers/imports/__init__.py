"""Imports: from a file in the bucket, or a message on the queue, to customers, a report and events."""
