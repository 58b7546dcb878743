"""What a running application keeps open, and how it decides."""
