"""What came of completions, counted per day and language on this machine and sent nowhere."""
