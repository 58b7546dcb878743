"""The published protocol of the Fraud Detection Handbook, whole."""
