"""What the processes share: mailboxes, their types, messages."""
