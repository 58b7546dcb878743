"""What an application has open, and how it decides."""
