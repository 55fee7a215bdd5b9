"""What each command does, once Typer has read its options."""
