"""What a job can be: train networks on digits, on pairs of digits, or on speech. This room imports only the lab's."""
