"""V2's vehicle endpoints: reads, batches and commands."""
