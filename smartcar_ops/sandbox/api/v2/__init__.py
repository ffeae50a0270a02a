"""V2 per vehicle: reads, batches and commands."""
