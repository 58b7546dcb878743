"""The product proven from outside, as a client: the demo and the replay."""
