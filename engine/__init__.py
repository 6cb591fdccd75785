"""What a search and a retraining train with: epochs, the engine, losses, schedules, precision."""
