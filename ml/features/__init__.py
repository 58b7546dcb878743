"""What dbt and Feast say of features."""
