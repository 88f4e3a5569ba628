"""What a job can be: train networks on digits, on pairs of digits, or on speech."""
