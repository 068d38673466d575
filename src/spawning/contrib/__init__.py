"""What other projects' programs load of Spawning."""
