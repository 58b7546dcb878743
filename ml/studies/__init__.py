"""Questions asked of trained models: a bundle's report, what each part brings, who is best."""
