"""The site's settings and addresses."""
