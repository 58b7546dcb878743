"""What dbt and Feast say of features, and the frames made of them."""
